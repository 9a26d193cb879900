"""OA-PI: a critic that expects the worst executed action from the next step on, and the actor that raises it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.modules import set_recurrent_mode
from torchrl.objectives import LossModule

from advwrap.attacks import Attack
from advwrap.errors import check, check_fraction
from advwrap.losses.bootstrap import temporal_difference
from advwrap.losses.live_values import Critics, make_functional
from advwrap.losses.reading import Transitions, weighted_mean
from advwrap.losses.trained_policy import key_of, trained
from advwrap.modules.rows import Rows
from advwrap.modules.streams import CallStreams, salted
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.targets.worst_action import worst_action
from advwrap.victims import AnyPolicy
from advwrap.victims.tensordict_critic import LossCritic

Solver = Callable[[LossCritic], Attack]
"""From a critic to the attack on actions that lowers it."""


class RobustCriticLoss(LossModule):  # type: ignore[misc]
    """Learn the value under the optimal adversary of the actions, and raise it.

    The robust critics U learn by temporal differences (the optimal-adversary-aware Bellman operator):

    L_U  = mean sum_i l(U_i(s, a), r + gamma (1 - terminated) min over d of min_j U_j'(s', clip(a' + d)))
    L_pi = - mean U_1(s, clip(mu(s) + d_s)),   d_s the worst perturbation of mu(s)

    with the executed action a, the next action a' and |d| in `within`. U(s, a) is the value of *executing* a now and
    being attacked from the next step on, so replayed data need no adversary, and the robust value of a policy is
    min over d of U(s, mu(s) + d): raising U(s, mu(s)) itself (``at_worst=False``, the plain reading) does not improve
    it monotonically. The gradient of L_pi is that of U at the worst action (Danskin), and 0 where the executed action
    is pinned by the limit of the actuator. As in TD3 the actor follows the first critic alone, at that one's worst
    action.

    Source: OA-PI, arXiv 2507.03372 (known to us from a digest); what it leaves open is decided in docs/oa-pi.md.

    Args:
        actor: The policy; its deterministic action is mu. None to learn the critics of a policy that somebody else
            trains, or nobody: `next_action` then says what it does.
        qvalue: The network of U, a `ValueOperator` of the clean observation and the action, or a list of them.
        within: Where the perturbation may live, in units of the action.
        bounds: The valid range of executed actions. An action of the policy that is outside already is not moved
            further out.
        solver: From a critic to the attack; ``partial(worst_action, within=within, restarts=1)`` by default.
        next_action: From ``batch["next"]`` to a', [B, A]; mu(s') of the live policy by default. TD3 hands its smoothed
            target action.
        gamma: Discount per step.
        at_worst: Whether the actor is trained at the worst action.
        loss_function: "smooth_l1" (Huber), "l2" or "l1".
        num_qvalue_nets: Members of U, the least of which counts; with more than one, `qvalue` is a template.
        key: What the actor reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        seed: Of what the solver draws, fresh entropy by default; the state is in `state_dict`.

    Reads: `clean_key` (else `key`), "action" (the executed one), "next" of the states, ("next", "reward"),
        ("next", "terminated"), "priority_weight" where there is one.

    Writes: nothing; returns ``"loss_robust_qvalue"`` and, with an actor, ``"loss_robust_actor"`` and, for the log,
        ``"robust_value"`` (mean U_1 where the actor is trained).

    Raises:
        ValueError: If a number is out of range, or there is neither an actor nor a `next_action`.

    Example:
        >>> from torch import nn
        >>> from torchrl.modules import MLP, ValueOperator
        >>> from torchrl.objectives import SoftUpdate
        >>> from advwrap.sets import LinfBall
        >>> actor = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1), nn.Tanh())
        >>> qvalue = ValueOperator(MLP(4, 1, num_cells=[16]), in_keys=["clean_observation", "action"])
        >>> loss = RobustCriticLoss(actor, qvalue, within=LinfBall(0.3), bounds=Bounds(-1.0, 1.0), num_qvalue_nets=2)
        >>> updater = SoftUpdate(loss, tau=0.005)
        >>> batch = TensorDict({"observation": torch.randn(8, 3), "action": torch.rand(8, 1)}, [8])
        >>> batch["next"] = TensorDict({"observation": torch.randn(8, 3), "reward": torch.randn(8, 1)}, [8])
        >>> batch["next", "terminated"] = torch.zeros(8, 1, dtype=torch.bool)
        >>> sorted(loss(batch).keys())
        ['loss_robust_actor', 'loss_robust_qvalue', 'robust_value']
    """

    out_keys: ClassVar[list[str]] = ["loss_robust_qvalue", "loss_robust_actor", "robust_value"]

    qvalue_network: TensorDictModuleBase
    qvalue_network_params: TensorDictParams
    target_qvalue_network_params: TensorDictParams

    def __init__(
        self,
        actor: AnyPolicy | None,
        qvalue: Critics,
        *,
        within: PerturbationSet,
        bounds: Bounds = UNBOUNDED,
        solver: Solver | None = None,
        next_action: Callable[[TensorDictBase], Tensor] | None = None,
        gamma: float = 0.99,
        at_worst: bool = True,
        loss_function: str = "l2",
        num_qvalue_nets: int = 1,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(bounds, Bounds):
            raise TypeError(f"`bounds` must be Bounds, got {bounds!r}. Fix: Bounds(low, high).")
        check_fraction("gamma", gamma)
        check(num_qvalue_nets >= 1, f"`num_qvalue_nets` must be >= 1, got {num_qvalue_nets}.")
        self.policy = None
        if actor is not None:
            self.policy, self.actor_network = trained(actor, key=key_of(actor, key))
        check(
            actor is not None or next_action is not None, "`next_action` must be given where `actor` is None, got None."
        )
        make_functional(self, qvalue, num_qvalue_nets, target=True)
        self.robust, self.robust_target = LossCritic(self), LossCritic(self, target=True)
        self.raised = LossCritic(self, member=0)
        solve = partial(worst_action, within=within, restarts=1) if solver is None else solver
        self.attack, self.target_attack = solve(self.raised), solve(self.robust_target)
        self.within, self.bounds, self.next_action, self.gamma = within, bounds, next_action, gamma
        self.at_worst, self.loss_function = at_worst, loss_function
        self.streams = CallStreams(salted(seed, "RobustCriticLoss"))
        self.reading = Transitions(key, clean_key)
        self.in_keys = self.reading.keys(actor, self.qvalue_network)

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The losses of one batch."""
        # A victim reads rows, each on its own, not sequences.
        with set_recurrent_mode(False):
            error, _ = temporal_difference(self, tensordict, self._worst_next(tensordict.get("next")))
            if self.policy is None:
                return TensorDict({"loss_robust_qvalue": error}, [])
            executed, state = self._executed(tensordict)
            reached = self.raised(state, executed)[0]
        out = {
            "loss_robust_qvalue": error,
            "loss_robust_actor": weighted_mean(-reached, tensordict),
            "robust_value": reached.detach().mean(),
        }
        return TensorDict(out, [])

    @torch.no_grad()
    def _worst_next(self, following: TensorDictBase) -> Tensor:
        """The least target value around the next action, [N]."""
        state, context = self.reading.state(following), self.reading.rows(following)
        action = self._next_action(following)
        worst = self._attacked(self.target_attack, action, state, context)
        return self.robust_target(state, worst).amin(0)

    @torch.no_grad()
    def search_gap(self, tensordict: TensorDictBase, solver: Solver) -> tuple[Tensor, Tensor]:
        """What share of the worst case the search of the target misses, and how much worse the worst case is, per row.

        (U'(s', found) - w) / damage and damage = U'(s', a') - w, with w the lower of both searches' values; the share
        is 0 where there is nothing to find. A target that misses much is an optimistic one: the critics then
        overestimate robustness.

        Args:
            tensordict: A batch.
            solver: The search to compare with, a better one.

        Shapes: two of [N].
        """
        following = tensordict.get("next")
        state, context = self.reading.state(following), self.reading.rows(following)
        action = self._next_action(following)
        attacks = self.target_attack, solver(self.robust_target)
        found, other = (
            self.robust_target(state, self._attacked(attack, action, state, context)).amin(0) for attack in attacks
        )
        worst, intended = torch.minimum(found, other), self.robust_target(state, action).amin(0)
        room = intended - worst
        return torch.where(room > 0, (found - worst) / room.clamp_min(torch.finfo(room.dtype).tiny), 0.0), room

    def _next_action(self, following: TensorDictBase) -> Tensor:
        """a', [N, A]."""
        if self.next_action is not None:
            return self.next_action(following)
        assert self.policy is not None  # noqa: S101 - one of them is there
        return self.policy.mean(self.reading.state(following), self.reading.rows(following))

    def _executed(self, tensordict: TensorDictBase) -> tuple[Tensor, Tensor]:
        """What is executed of the policy's action, with its gradient, and the state."""
        state, context = self.reading.state(tensordict), self.reading.rows(tensordict)
        assert self.policy is not None  # noqa: S101 - it is asked for where there is one
        intended = self.policy.mean(state, context)
        if not self.at_worst:
            return intended, state
        worst = self._attacked(self.attack, intended.detach(), state, context)
        moved = intended + (worst - intended.detach())
        # At the limit of the actuator the executed action does not follow the intended one.
        low, high = self.bounds.around(intended.detach())
        return torch.where((worst > low) & (worst < high), moved, worst), state

    def _attacked(self, attack: Attack, action: Tensor, state: Tensor, context: Rows) -> Tensor:
        context.extra = {**context.extra, "observation": state, "clean_observation": state}
        streams = self.streams(action.shape[0]).to(action.device)
        return attack(action, context=context, bounds=self.bounds, generator=streams).detach()


def search_quality(loss: RobustCriticLoss, batch: TensorDictBase) -> dict[str, float]:
    """For the log: what the search of a loss misses on a batch, and how much is at stake.

    "search_gap_mean" and "search_gap_p95", the share of the worst case that twenty steps from four starts find and it
    does not (see `RobustCriticLoss.search_gap`); "action_damage", how much of the value the worst action takes.
    """
    gap, damage = loss.search_gap(batch, partial(worst_action, within=loss.within, steps=20, restarts=4))
    return {
        "search_gap_mean": float(gap.mean()),
        "search_gap_p95": float(gap.quantile(0.95)),
        "action_damage": float(damage.mean()),
    }
