"""WocaR: a second critic that expects the worst action that the adversary can cause."""

from __future__ import annotations

from typing import ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.modules import set_recurrent_mode
from torchrl.objectives import LossModule

from advwrap.bounds import ActionBounds, box_around
from advwrap.errors import check, check_fraction
from advwrap.losses.bootstrap import temporal_difference
from advwrap.losses.box_search import lowest_in_box
from advwrap.losses.live_values import Critics, make_functional
from advwrap.losses.reading import Transitions, weighted_mean
from advwrap.losses.trained_policy import key_of, sampled, trained
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.sets.coefficient import Coefficient, present
from advwrap.victims import AnyCritic, AnyPolicy, Context, Critic, as_critic, as_policy
from advwrap.victims.tensordict_critic import LossCritic


class WorstCaseCritic(LossModule):  # type: ignore[misc]
    """Worst-case-aware robust RL (WocaR): learn the value under the worst attack without attacking, and raise it.

    The worst critic U learns by temporal differences (worst-case Bellman operator):

    L_U = mean huber(U(s, a), r + gamma (1 - terminated) min_{a' in A(s')} U_target(s', a'))

    where A(s) is the box of mean actions over the ball around s, by interval bounds, and the minimum is found by
    projected gradient descent in it. The actor's term is, with the critic Q of the main loss,

    L_pi = kappa mean (Q(s, a) - U(s, a)),   a ~ pi(.|s)      if `critic` is given (mixed values)
    L_pi = - kappa mean U(s, mu(s))                           otherwise (deterministic gradient)

    The first, added to an unmodified `SACLoss`, turns its Q into (1 - kappa) Q + kappa U. For the second the training
    step has to weigh the loss's own actor term: ``weights={"loss_actor": lambda: 1 - kappa()}``. U alone is trained by
    L_U, the actor alone by L_pi.

    Source: Liang et al., *Efficient adversarial training without attacking*, NeurIPS 2022; for SAC: VALT, eq. (59),
        (60) and (61), which reports that both forms collapse as the radius grows. The reference code descends on the
        online critic and evaluates the target; here both are the target, as eq. (59) says.

    Args:
        actor: The policy, continuous and a plain chain of layers (see `ActionBounds`).
        qvalue: The network of U, a `ValueOperator` of the clean observation and the action, or a list of them.
        within: The ball, L-infinity; its radius may be a schedule.
        kappa: The weight of the worst case, in [0, 1]: a number or a schedule.
        critic: Q of the main loss, usually that `SACLoss` itself (its live critics, least of the twins).
        gamma: Discount per step.
        steps: Gradients of the search for the worst action.
        loss_function: "smooth_l1" (Huber), "l2" or "l1".
        num_qvalue_nets: Members of U, the least of which counts; with more than one, `qvalue` is a template.
        key: What the actor reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        bounds: The valid range of the observation.

    Reads: `clean_key` (else `key`), "action", "next" of both, ("next", "reward"), ("next", "terminated"),
        "priority_weight" where there is one.

    Writes: nothing; returns ``"loss_worst_qvalue"``, ``"loss_worst_actor"`` and, for the log, ``"worst_value"`` (mean
        U(s, a)) and ``"action_width"`` (mean width of the box).

    Raises:
        TypeError: If the policy is no plain chain, or the set no box.
        ValueError: If a number is out of range.

    Example:
        >>> from torch import nn
        >>> from torchrl.modules import MLP, ValueOperator
        >>> from torchrl.objectives import SoftUpdate
        >>> from advwrap.sets import LinfBall
        >>> actor = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1), nn.Tanh())
        >>> qvalue = ValueOperator(MLP(4, 1, num_cells=[16]), in_keys=["clean_observation", "action"])
        >>> loss = WorstCaseCritic(actor, qvalue, within=LinfBall(0.1), kappa=0.4)
        >>> updater = SoftUpdate(loss, tau=0.005)
        >>> batch = TensorDict({"observation": torch.randn(8, 3), "action": torch.rand(8, 1)}, [8])
        >>> batch["next"] = TensorDict({"observation": torch.randn(8, 3), "reward": torch.randn(8, 1)}, [8])
        >>> batch["next", "terminated"] = torch.zeros(8, 1, dtype=torch.bool)
        >>> sorted(loss(batch).keys())
        ['action_width', 'loss_worst_actor', 'loss_worst_qvalue', 'worst_value']
    """

    out_keys: ClassVar[list[str]] = ["loss_worst_qvalue", "loss_worst_actor", "worst_value", "action_width"]

    qvalue_network: TensorDictModuleBase
    qvalue_network_params: TensorDictParams
    target_qvalue_network_params: TensorDictParams

    def __init__(
        self,
        actor: AnyPolicy,
        qvalue: Critics,
        *,
        within: PerturbationSet,
        kappa: Coefficient,
        critic: AnyCritic | None = None,
        gamma: float = 0.99,
        steps: int = 5,
        loss_function: str = "smooth_l1",
        num_qvalue_nets: int = 1,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        super().__init__()
        check_fraction("gamma", gamma)
        check(steps >= 1, f"`steps` must be >= 1, got {steps}.")
        check(num_qvalue_nets >= 1, f"`num_qvalue_nets` must be >= 1, got {num_qvalue_nets}.")
        if not callable(kappa):
            check_fraction("kappa", float(kappa))
        name = key_of(actor, key)
        self.policy, self.actor_network = trained(actor, key=name)
        self.action_bounds = ActionBounds(as_policy(actor, key=name))
        make_functional(self, qvalue, num_qvalue_nets, target=True)
        self.worst, self.worst_target = LossCritic(self), LossCritic(self, target=True)
        self.critic: Critic | None = None if critic is None else as_critic(critic)
        self.within, self.kappa, self.gamma, self.steps = within, kappa, gamma, steps
        self.loss_function, self.bounds = loss_function, bounds
        self.reading = Transitions(key, clean_key)
        self.in_keys = self.reading.keys(actor, self.qvalue_network)

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The losses of one batch."""
        following = tensordict.get("next")
        # A victim reads rows, each on its own, not sequences.
        with set_recurrent_mode(False):
            worst_next, width = self._worst_next(self.reading.state(following), self.reading.rows(following))
            error, values = temporal_difference(self, tensordict, worst_next)
            term = self._actor_term(self.reading.state(tensordict), self.reading.rows(tensordict))
        out = {
            "loss_worst_qvalue": error,
            "loss_worst_actor": weighted_mean(present(self.kappa) * term, tensordict),
            "worst_value": values.detach().amin(0).mean(),
            "action_width": width.mean(),
        }
        return TensorDict(out, [])

    @torch.no_grad()
    def _worst_next(self, state: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """The least target value in the box of actions, and the width of the box."""
        box = self.action_bounds(box_around(state, self.within, self.bounds))
        start = self.policy.mean(state, context)

        def value(action: Tensor) -> Tensor:
            return self.worst_target(state, action, context).amin(0)

        return value(lowest_in_box(value, box, start=start, steps=self.steps)), box.width

    def _actor_term(self, state: Tensor, context: Context) -> Tensor:
        """What is lowered by the actor, [N]; the critics are constants here."""
        if self.critic is None:
            return -self.worst(state, self.policy.mean(state, context), context).amin(0)
        action = sampled(self.policy, state, context)
        return self.critic(state, action, context).amin(0) - self.worst(state, action, context).amin(0)
