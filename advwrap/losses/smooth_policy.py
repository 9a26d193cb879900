"""The smoothness regulariser: what the agent does may change little over the ball."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor
from torchrl.modules import set_recurrent_mode
from torchrl.objectives import LossModule

from advwrap.attacks import Attack, Langevin
from advwrap.errors import check
from advwrap.losses.reading import weighted_mean
from advwrap.losses.trained_policy import key_of, trained
from advwrap.modules import Perturb
from advwrap.modules.rows import Rows
from advwrap.modules.streams import salted
from advwrap.objectives import PolicyKL
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.sets.coefficient import Coefficient, present
from advwrap.victims import AnyPolicy, as_policy
from advwrap.victims.laws import Law, NormalLaw

Divergence = Callable[[Law, Law], Tensor]
"""``divergence(clean, seen) -> [B]``: how far apart two batches of action distributions are."""


def kl_divergence(clean: Law, seen: Law) -> Tensor:
    """KL(clean || seen), of the distributions before a tanh, which changes nothing.

    Shapes: two batches of B distributions -> [B].

    Example:
        >>> zero, one = torch.zeros(1, 1), torch.ones(1, 1)
        >>> kl_divergence(NormalLaw(zero, one), NormalLaw(one, one))
        tensor([0.5000])
    """
    return clean.kl(seen)


def mean_shift(clean: Law, seen: Law) -> Tensor:
    """sum_j ((mu'_j - mu_j) / sigma'_j)^2: twice the KL divergence of two normals with the same deviation.

    with the means mu of the clean and mu', sigma' of the seen distribution. The deviation gets a gradient too: the loss
    can also be lowered by exploring more.

    Source: the public reference code of SA-PPO, whose deviation does not depend on the state.

    Shapes: two batches of B normal distributions -> [B].

    Raises:
        TypeError: If they are not normal.

    Example:
        >>> zero, one = torch.zeros(1, 1), torch.ones(1, 1)
        >>> mean_shift(NormalLaw(zero, one), NormalLaw(one, one))
        tensor([1.])
    """
    if not isinstance(clean, NormalLaw) or not isinstance(seen, NormalLaw):
        raise TypeError(f"`mean_shift` needs a normal policy, got {type(seen).__name__}. Fix: kl_divergence.")
    return ((seen.loc - clean.loc) / seen.scale).square().sum(-1)


class SmoothPolicy(LossModule):  # type: ignore[misc]
    """State-adversarial (SA) regulariser: how far an adversary can move the policy, made small.

    L(theta) = kappa mean_s max_{x in B(s)} KL(pi(.|s) || pi(.|x))

    with the ball B(s) and the inner maximum found by an attack, whose result is a constant of the loss. Add it to an
    unmodified actor loss (SAC, PPO, TD3, discrete SAC, ...); it trains the actor alone.

    Gradients flow through both distributions, as the formula says. The reference code of SA-PPO holds the clean one
    fixed (`detach_clean`) and uses the `mean_shift`: ``SmoothPolicy.sgld(actor, within=..., steps=10, coefficient=0.1,
    divergence=mean_shift, detach_clean=True)``. Its noise is relative to the gradient of a mean over the minibatch, and
    ours to that of a row, so that ours does not depend on the batch size.

    Source: Zhang et al., *Robust deep reinforcement learning against adversarial perturbations on state observations*,
        NeurIPS 2020; VALT, J_reg of eq. (56) and eq. (58) (Robust-SAC: 5 steps of Langevin dynamics; VALT: 2).

    Args:
        actor: A TensorDict actor, a network, or a `Policy` of one: what is trained.
        attack: The inner maximisation; one that starts at random, since the gradient is 0 at s itself.
        coefficient: kappa, a number or a schedule.
        divergence: `kl_divergence` or `mean_shift`.
        detach_clean: Whether the clean distribution is a constant.
        key: What the actor reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        bounds: The valid range of the observation.
        agents: Agents per environment, for an actor of many agents.
        seed: Of the attack's random streams; their state is in `state_dict`.

    Reads: `clean_key`, else `key`; what else the actor reads. Perturbed observations under `key` are not used.

    Writes: nothing; returns ``"loss_smooth"`` and, for the log, ``"smooth_divergence"``, the mean without coefficient.

    Raises:
        TypeError: If there is no module to train.
        ValueError: If `coefficient` is negative.

    Example:
        >>> from torch import nn
        >>> from advwrap.sets import LinfBall
        >>> actor = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
        >>> loss = SmoothPolicy.sgld(actor, within=LinfBall(0.1), coefficient=30.0)
        >>> out = loss(TensorDict({"observation": torch.randn(8, 3)}, [8]))
        >>> out["loss_smooth"].backward()
        >>> bool(out["loss_smooth"] > 0 and actor[0].weight.grad.abs().sum() > 0)
        True
    """

    out_keys: ClassVar[list[str]] = ["loss_smooth", "smooth_divergence"]

    def __init__(
        self,
        actor: AnyPolicy,
        attack: Attack,
        *,
        coefficient: Coefficient = 1.0,
        divergence: Divergence = kl_divergence,
        detach_clean: bool = False,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        bounds: Bounds = UNBOUNDED,
        agents: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not callable(coefficient):
            check(bool(coefficient >= 0), f"`coefficient` must be >= 0, got {coefficient}.")
        self.policy, self.actor_network = trained(actor, key=key_of(actor, key), agents=agents)
        seed = salted(seed, "SmoothPolicy")
        self.perturb = Perturb(attack, key, clean_key, next=False, bounds=bounds, seed=seed)
        self.coefficient = coefficient
        self.divergence = divergence
        self.detach_clean = detach_clean
        others = [unravel_key(name) for name in getattr(actor, "in_keys", ())]
        self.in_keys = list(dict.fromkeys([self.perturb.clean_key, self.perturb.key, *others]))

    @classmethod
    def sgld(
        cls, actor: AnyPolicy, *, within: PerturbationSet, steps: int = 2, beta: float = 1e5, **options: Any
    ) -> SmoothPolicy:
        """The regulariser with Langevin dynamics (SGLD) on the KL divergence, as the papers do it.

        Args:
            actor: What is trained.
            within: The ball; its radius may be a schedule.
            steps: Gradients per call.
            beta: Inverse temperature of the noise.
            options: The other arguments of `SmoothPolicy`.
        """
        key, agents = options.get("key", "observation"), options.get("agents", 1)
        victim = as_policy(actor, key=key_of(actor, key), agents=agents)
        return cls(actor, Langevin(PolicyKL(victim), within=within, steps=steps, beta=beta), **options)

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss of one batch."""
        # A victim reads rows, each on its own, not sequences.
        with set_recurrent_mode(False):
            seen = self.perturb(tensordict.copy())
            rows = Rows([seen], self.perturb.key)
            truth, shown = (rows.flat(key, [seen.get(key)]) for key in (self.perturb.clean_key, self.perturb.key))
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach_clean):
                clean = self.policy.law(truth, rows)
            distance = self.divergence(clean, self.policy.law(shown, rows))
        loss = weighted_mean(present(self.coefficient) * distance, tensordict)
        return TensorDict({"loss_smooth": loss, "smooth_divergence": distance.detach().mean()}, [])
