"""OA-PI for discrete actions, where the worst action needs no search."""

from __future__ import annotations

from typing import ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from tensordict.utils import NestedKey
from torch import Tensor
from torch.nn import functional as F
from torchrl.objectives import LossModule, distance_loss

from advwrap.errors import check, check_fraction
from advwrap.losses.live_values import Critics, live_tables, make_functional
from advwrap.losses.reading import Transitions, weighted_mean
from advwrap.losses.trained_policy import key_of, trained
from advwrap.sets.coefficient import Coefficient, check_coefficient, present
from advwrap.victims import AnyPolicy
from advwrap.victims.laws import CategoricalLaw


class RobustTableLoss(LossModule):  # type: ignore[misc]
    """Learn the value under an adversary who replaces the executed action now and then, and raise it.

    The tables U(s, .) learn by temporal differences; in every step from the next one on, with probability p the worst
    action is executed instead of the policy's:

    W(s)  = (1 - p) sum_a pi(a|s) min_j U_j(s, a) + p min_a min_j U_j(s, a)
    L_U   = mean sum_i l(U_i(s, a), r + gamma (1 - terminated) W'(s'))
    L_pi  = - mean (1 - p) sum_a pi(a|s) min_j U_j(s, a)

    with the executed action a. Actions that the actor's mask forbids are nobody's to choose, in the minimum neither.
    Where the policy is not obeyed, it has nothing to learn: the minimum over all actions has no gradient for it. For
    p = 0 this is the nominal value.

    With ``greedy=True`` pi(. | s) is all on the policy's first choice: what a `QValueActor` plays. Then there is no
    actor to train, and an agent that is greedy on U itself learns the max-min value, a robust deep Q-network: its
    choice by the present tables, the value by the target's, as in double Q-learning
    (``examples/oa_dqn_from_blocks.py``).

    Source: the operator of OA-PI, arXiv 2507.03372, on a finite set of actions (its open question 1), with the
        probabilistic adversary of Tessler et al., ICML 2019.

    Args:
        actor: The categorical policy, or one that is greedy on action values.
        tables: The network of U, from the clean observation to n values, a `ValueOperator`, or a list of them.
        probability: p, a number or a schedule.
        gamma: Discount per step.
        loss_function: "smooth_l1" (Huber), "l2" or "l1".
        num_qvalue_nets: Members of U, the least of which counts, action by action.
        greedy: Whether the policy plays its first choice instead of sampling.
        key: What the actor reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.

    Reads: `clean_key` (else `key`), "action" (the executed one, one-hot), "next" of the states, ("next", "reward"),
        ("next", "terminated"), "priority_weight" where there is one.

    Writes: nothing; returns ``"loss_robust_qvalue"``, ``"loss_robust_actor"`` and, for the log, ``"robust_value"``
        (mean W) and ``"action_damage"`` (how much of the policy's value the worst action takes).

    Raises:
        ValueError: If a number is out of range.
        TypeError: When called, if the policy is not categorical.

    Example:
        >>> from torch import nn
        >>> from torchrl.modules import MLP, ValueOperator
        >>> from torchrl.objectives import SoftUpdate
        >>> from advwrap.victims import Categorical
        >>> tables = ValueOperator(MLP(3, 4, num_cells=[16]), in_keys=["clean_observation"], out_keys=["action_value"])
        >>> loss = RobustTableLoss(Categorical(nn.Linear(3, 4)), tables, probability=0.1, num_qvalue_nets=2)
        >>> updater = SoftUpdate(loss, tau=0.005)
        >>> batch = TensorDict({"observation": torch.randn(8, 3), "action": torch.eye(4).repeat(2, 1)}, [8])
        >>> batch["next"] = TensorDict({"observation": torch.randn(8, 3), "reward": torch.randn(8, 1)}, [8])
        >>> batch["next", "terminated"] = torch.zeros(8, 1, dtype=torch.bool)
        >>> sorted(loss(batch).keys())
        ['action_damage', 'loss_robust_actor', 'loss_robust_qvalue', 'robust_value']
    """

    out_keys: ClassVar[list[str]] = ["loss_robust_qvalue", "loss_robust_actor", "robust_value", "action_damage"]

    qvalue_network: TensorDictModuleBase
    qvalue_network_params: TensorDictParams
    target_qvalue_network_params: TensorDictParams

    def __init__(
        self,
        actor: AnyPolicy,
        tables: Critics,
        *,
        probability: Coefficient,
        gamma: float = 0.99,
        loss_function: str = "l2",
        num_qvalue_nets: int = 1,
        greedy: bool = False,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
    ) -> None:
        super().__init__()
        check_fraction("gamma", gamma)
        check(num_qvalue_nets >= 1, f"`num_qvalue_nets` must be >= 1, got {num_qvalue_nets}.")
        check_coefficient("probability", probability)
        if not callable(probability):
            check_fraction("probability", float(probability))
        self.policy, self.actor_network = trained(actor, key=key_of(actor, key))
        make_functional(self, tables, num_qvalue_nets, target=True)
        self.probability, self.gamma, self.loss_function = probability, gamma, loss_function
        self.greedy = greedy
        self.reading = Transitions(key, clean_key)
        self.in_keys = ["action", *self.reading.keys(actor, self.qvalue_network)]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The losses of one batch."""
        p, following = present(self.probability), tensordict.get("next")
        with torch.no_grad():
            obeyed, replaced = self._values(following, self._least(following, self.target_qvalue_network_params))
            worst_next = (1 - p) * obeyed + p * replaced
        reward, ended = (self.reading.number(following, name) for name in ("reward", "terminated"))
        target = reward + self.gamma * (1 - ended.to(reward.dtype)) * worst_next
        tables = live_tables(self.qvalue_network, self.qvalue_network_params, self.reading.at_truth(tensordict))
        tables = tables.flatten(1, -2)
        executed = self.reading.entry(tensordict, "action").reshape(tables.shape[1:]).to(tables.dtype)
        values = (tables * executed).sum(-1)
        error = distance_loss(values, target.expand_as(values), self.loss_function).sum(0)
        played, worst = self._values(tensordict, tables.detach().amin(0))
        taken = (played - worst).detach()
        return TensorDict(
            {
                "loss_robust_qvalue": weighted_mean(error, tensordict),
                "loss_robust_actor": weighted_mean(-(1 - p) * played, tensordict),
                "robust_value": (played.detach() - p * taken).mean(),
                "action_damage": taken.mean(),
            },
            [],
        )

    def _values(self, part: TensorDictBase, least: Tensor) -> tuple[Tensor, Tensor]:
        """What the policy's choice is worth at the truth, and the worst choice that no mask forbids, [N] each."""
        law = self.policy.law(self.reading.state(part), self.reading.rows(part))
        if not isinstance(law, CategoricalLaw):
            raise TypeError(f"`actor` must be categorical, got {self.policy}. Fix: RobustCriticLoss.")
        probs = F.one_hot(law.mode(), law.logits.shape[-1]).to(law.logits.dtype) if self.greedy else law.probs
        return (probs * least).sum(-1), least.masked_fill(~law.allowed, float("inf")).amin(-1)

    def _least(self, part: TensorDictBase, params: TensorDictParams) -> Tensor:
        """min_j U_j(s, .), [N, n]."""
        return live_tables(self.qvalue_network, params, self.reading.at_truth(part)).flatten(1, -2).amin(0)
