"""The loss of the learned soft-worst adversary of VALT-SOFT."""

from __future__ import annotations

import math

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from tensordict.utils import NestedKey, unravel_key

from advwrap.attacks.ascent import value_and_gradient
from advwrap.attacks.learned import is_box
from advwrap.losses.reading import weighted_mean
from advwrap.modules import GaussianAdversary
from advwrap.modules.rows import Rows, beside, truth_of
from advwrap.modules.streams import CallStreams, salted
from advwrap.sets import PerturbationSet
from advwrap.sets.coefficient import Coefficient, check_coefficient, present
from advwrap.targets.soft_value import SoftValue
from advwrap.victims import AnyCritic, AnyPolicy
from advwrap.victims.heads import NormalHead


class AdversaryLoss(TensorDictModuleBase):  # type: ignore[misc]
    """Fit an adversary nu to the soft-worst distribution: low values for the victim, at the price of certainty.

    L = E_s E_{s~ ~ nu(.|s)}[V(s, s~) + alpha log nu(s~ | s)]

    V(s, s~) = min_i Q_i(s, a) - alpha_ent log pi(a | s~),   a ~ pi(. | s~)

    with one reparameterised s~ and one reparameterised a per row. Only the adversary learns: the gradient of V is taken
    with respect to s~ and goes on from there to the adversary alone, never to the policy, the critics or alpha_ent,
    whatever modules they are. The minimum over all nu is eq. 9, nu = p exp(-V / alpha) / Z; the loss exceeds it by
    alpha KL(nu || eq. 9). A Gaussian has one mode: where eq. 9 has two, the adversary chooses one of them.

    Source: VALT, eq. 10 and 57. The paper's log nu is a density in the ball; here it is one in units of the radius,
        which differs by a constant, so the loss stays finite where the radius is 0 and does not jump when it grows.

    Args:
        adversary: What learns.
        policy: The victim.
        critic: Q(s, a), anything that `advwrap.victims.as_critic` takes; a TorchRL loss for its live critics.
        within: A box: `LinfBall`, whole or masked.
        temperature: alpha_attk > 0, in the units of the value. The paper uses constants (2 to 8), or
            ``Linear(1000.0, 4.0, steps=...)``.
        entropy: alpha_ent; None reads it live from a TorchRL loss given as `critic`, and is 0 for any other critic.
        actions: Random actions per row; 0 takes the mean action and leaves the entropy out.
        key: What the victim reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        seed: Of the random streams, fresh entropy by default; their state is in `state_dict`.

    Shapes: any batch size; observations [*batch, features].

    Reads: `clean_key`, else `key`; what the victim reads besides.

    Returns: A TensorDict of scalars: ``loss_adversary``; ``adversary_kl``, the estimate of KL(nu || p) against the
    uniform prior p, in nats; ``adversary_value``, the mean of V under nu; and ``adversary_soft_value``, their sum
    V + alpha KL, which is at least eq. 26 and equals it once the adversary has converged.

    Raises:
        TypeError: If `within` is no box, or the adversary no `GaussianAdversary`.
        ValueError: If a number is out of range.
        GradientError: If V does not depend on what the victim sees.

    Example:
        >>> from advwrap import LinfBall
        >>> adversary = GaussianAdversary(3, hidden=(16,))
        >>> loss = AdversaryLoss(
        ...     adversary, torch.tanh, lambda obs, act: act.sum(-1), within=LinfBall(0.1), temperature=0.01, seed=0
        ... )
        >>> batch = TensorDict({"observation": torch.zeros(32, 3)}, [32])
        >>> optimiser = torch.optim.Adam(loss.parameters(), lr=0.01)
        >>> for _ in range(50):
        ...     optimiser.zero_grad()
        ...     out = loss(batch)
        ...     out["loss_adversary"].backward()
        ...     optimiser.step()
        >>> bool(out["adversary_value"] < -0.2)  # the least possible is tanh(-0.1) in each of 3 features: -0.299
        True
    """

    def __init__(
        self,
        adversary: GaussianAdversary,
        policy: AnyPolicy,
        critic: AnyCritic,
        *,
        within: PerturbationSet,
        temperature: Coefficient,
        entropy: Coefficient | None = None,
        actions: int = 1,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(adversary, GaussianAdversary):
            raise TypeError(f"`adversary` must be a GaussianAdversary, got {type(adversary).__name__}.")
        if not is_box(within):
            raise TypeError(
                f"`within` must be a box, in which a squashed Gaussian has a density, got {within!r}. "
                "Fix: LinfBall(eps)."
            )
        check_coefficient("temperature", temperature, positive=True)
        self.adversary = adversary
        self.soft = SoftValue(policy, critic, entropy=entropy, actions=actions)
        self.within = within
        self.temperature = temperature
        self.streams = CallStreams(salted(seed, "AdversaryLoss"))
        self.key = unravel_key(key)
        self.clean_key = beside(self.key, "clean_") if clean_key is None else unravel_key(clean_key)
        self.in_keys = [self.clean_key, self.key]
        self.out_keys = ["loss_adversary", "adversary_value", "adversary_kl", "adversary_soft_value"]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and what is to be logged; the tensordict is not changed."""
        context = Rows([tensordict], self.key)
        truth = truth_of(tensordict, self.clean_key, self.key, fix="AdversaryLoss(..., key=...).")
        clean = context.flat(self.key, [truth.detach()])
        context.extra = {self.clean_key: clean}
        streams = self.streams(clean.shape[0]).to(clean.device)
        push, log_density = _SQUASHED.draw(self.adversary(clean), streams.normal)
        corner = self.within.steepest(torch.ones_like(clean))  # the radius of every feature; 0 where it is masked
        seen = clean + corner * push

        value, slope = value_and_gradient(lambda x: self.soft(clean, x, streams.normal, context), seen.detach())
        # Has the value of V, and its gradient with respect to `seen` alone.
        through_seen = value + (slope * (seen - seen.detach())).sum(-1)
        alpha = present(self.temperature)
        loss = weighted_mean(through_seen + alpha * log_density, tensordict)
        with torch.no_grad():
            # Uniform in [-1, 1]^d has density 2^-d.
            divergence = log_density.mean() + push.shape[-1] * math.log(2.0)
            worth = value.mean()
            logged = {
                "adversary_value": worth,
                "adversary_kl": divergence,
                "adversary_soft_value": worth + alpha * divergence,
            }
        return TensorDict({"loss_adversary": loss, **logged}, [])


_SQUASHED = NormalHead(squash=torch.tanh)
