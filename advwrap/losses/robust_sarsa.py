"""Robust Sarsa: the action value of a given policy, smooth in its inputs, to attack that policy with."""

from __future__ import annotations

from typing import ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.objectives import LossModule, distance_loss

from advwrap.bounds import Box, ValueBounds
from advwrap.errors import check_fraction
from advwrap.losses.live_values import Critics, live_values, make_functional
from advwrap.losses.reading import Transitions
from advwrap.sets.coefficient import Coefficient, present
from advwrap.victims.tensordict_critic import LossCritic


class RobustSarsa(LossModule):  # type: ignore[misc]
    """On-policy action values (Sarsa) with a regulariser that keeps them smooth in the action.

    L_TD = mean huber(Q(s, a), r + gamma (1 - terminated) Q(s', a'))
    L_IBP = lambda mean max(high - Q(s, a), Q(s, a) - low)^2

    with the action a' that the policy took in s', no gradient through Q(s', a'), and interval bounds (low, high) of
    Q(s, .) over actions within eps of a. Without the regulariser the gradient of Q is a bad guide: it answers to
    actions that the policy never takes. The trained critic gives the robust Sarsa attack, ``PGD(LowValue(policy,
    critic))``, of policies that have no critic of their own; `fit_robust_sarsa` trains it.

    A stack of E critics is trained at once, each with its own eps and lambda: losses are summed over members, so that
    each learns what it would learn alone.

    Source: Zhang et al., *Robust deep reinforcement learning against adversarial perturbations on state observations*,
        NeurIPS 2020, section on the robust Sarsa attack. The reference code mixes the interval bounds with those of
        linear relaxation (CROWN) while eps grows; these are interval bounds throughout.

    Args:
        qvalue: The network, a `ValueOperator` of the observation and the action and a plain chain; or a list of them.
        eps: The radius, in units of the action: a number, one per member, or a schedule of either.
        coefficient: lambda, of the same kinds.
        gamma: Discount per step.
        loss_function: "smooth_l1" (Huber), "l2" or "l1".
        key: The observation; the truth beside it, if there is one, is read instead.

    Reads: the observation and "action", both also in "next", ("next", "reward"), ("next", "terminated").

    Writes: nothing; returns ``"loss_sarsa"``, ``"loss_interval"`` and, for the log, ``"sarsa_value"`` (mean Q) and
        ``"sarsa_spread"`` (standard deviation of Q over the batch).

    Raises:
        TypeError: If the network is no plain chain.
        ValueError: If `gamma` is out of range.

    Example:
        >>> from torchrl.modules import MLP, ValueOperator
        >>> qvalue = ValueOperator(MLP(4, 1, num_cells=[8]), in_keys=["observation", "action"])
        >>> loss = RobustSarsa(qvalue, eps=0.1, coefficient=1.0)
        >>> batch = TensorDict({"observation": torch.randn(8, 3), "action": torch.rand(8, 1)}, [8])
        >>> batch["next"] = batch.clone()
        >>> batch["next", "reward"], batch["next", "terminated"] = torch.ones(8, 1), torch.zeros(8, 1)
        >>> bool(loss(batch)["loss_interval"] > 0)
        True
    """

    out_keys: ClassVar[list[str]] = ["loss_sarsa", "loss_interval", "sarsa_value", "sarsa_spread"]

    qvalue_network: TensorDictModuleBase
    qvalue_network_params: TensorDictParams
    target_qvalue_network_params: TensorDictParams

    def __init__(
        self,
        qvalue: Critics,
        *,
        eps: Coefficient,
        coefficient: Coefficient,
        gamma: float = 0.99,
        loss_function: str = "smooth_l1",
        key: NestedKey = "observation",
    ) -> None:
        super().__init__()
        check_fraction("gamma", gamma)
        make_functional(self, qvalue)
        self.value_bounds = ValueBounds(LossCritic(self))
        self.eps, self.coefficient, self.gamma = eps, coefficient, gamma
        self.loss_function = loss_function
        self.reading = Transitions(key)
        self.in_keys = self.reading.keys(self.qvalue_network)

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The losses of one batch."""
        values = self._values(tensordict)
        predicted, target = self._pairs(values, tensordict)
        error = distance_loss(predicted, target, self.loss_function).mean(1)
        low, high = self.value_bounds(*self._boxes(tensordict))
        gap = torch.maximum(high - values, values - low).square().mean(1)
        out = {
            "loss_sarsa": error.sum(),
            "loss_interval": (present(self.coefficient) * gap).sum(),
            "sarsa_value": values.detach().mean(),
            "sarsa_spread": values.detach().std(1).mean(),
        }
        return TensorDict(out, [])

    def _values(self, part: TensorDictBase) -> Tensor:
        return live_values(self.qvalue_network, self.qvalue_network_params, self.reading.at_truth(part))

    def _pairs(self, values: Tensor, tensordict: TensorDictBase) -> tuple[Tensor, Tensor]:
        """What is predicted, and its target, [E, n] each."""
        following = tensordict.get("next")
        reward, ended = (self.reading.number(following, name) for name in ("reward", "terminated"))
        with torch.no_grad():
            return values, reward + self.gamma * (1 - ended.to(reward.dtype)) * self._values(following)

    def _boxes(self, tensordict: TensorDictBase) -> tuple[Tensor | Box, Tensor | Box]:
        """The states and the actions over which the values are bounded."""
        state, action = self.reading.state(tensordict), self.reading.entry(tensordict, "action")
        box = self._around(action)
        return state.expand(*box.low.shape[:-1], -1), box

    def _around(self, x: Tensor) -> Box:
        """The points within eps of x: [N, d], or [E, N, d] for one eps per member."""
        eps = present(self.eps)
        radius = eps.to(x).reshape(-1, 1, 1) if isinstance(eps, Tensor) and eps.ndim else eps
        return Box(x - radius, x + radius)


class ShuffledSarsa(RobustSarsa):
    """The robust Sarsa critic as the public reference code trains it, for comparison with published numbers.

    L_TD = mean_i huber(Q(s_i, a_i), r_i + gamma (1 - done_i) Q(s_{i+1}, a_{i+1}))
    L_IBP = lambda mean max(high - Q(s, a), Q(s, a) - low)^2

    where i + 1 is the next row of a *shuffled* minibatch: any other state, not the one that followed. So Q learns the
    reward of a single step and a constant. The end of an episode by a time limit counts as its end, and the bounds are
    over states and actions within eps, not over actions alone. All three differ from the paper; this critic has given
    the attack of the published tables, and neither is always the stronger one.

    Source: the reference code of SA-PPO and ATLA (Zhang et al. 2020, 2021), which PA-AD and WocaR inherit.

    Args:
        qvalue: As in `RobustSarsa`; so are the others.

    Reads: the observation, "action", ("next", "reward"), ("next", "done"); rows in random order.

    Example:
        >>> from torchrl.modules import MLP, ValueOperator
        >>> qvalue = ValueOperator(MLP(4, 1, num_cells=[8]), in_keys=["observation", "action"])
        >>> loss = ShuffledSarsa(qvalue, eps=0.1, coefficient=1.0)
        >>> batch = TensorDict({"observation": torch.randn(8, 3), "action": torch.rand(8, 1)}, [8])
        >>> batch["next"] = TensorDict({"reward": torch.ones(8, 1), "done": torch.zeros(8, 1)}, [8])
        >>> bool(loss(batch)["loss_sarsa"] > 0)
        True
    """

    def _pairs(self, values: Tensor, tensordict: TensorDictBase) -> tuple[Tensor, Tensor]:
        following = tensordict.get("next")
        reward, ended = (self.reading.number(following, name)[:-1] for name in ("reward", "done"))
        other = values[:, 1:].detach()
        return values[:, :-1], reward + self.gamma * (1 - ended.to(reward.dtype)) * other

    def _boxes(self, tensordict: TensorDictBase) -> tuple[Tensor | Box, Tensor | Box]:
        state, action = self.reading.state(tensordict), self.reading.entry(tensordict, "action")
        return self._around(state), self._around(action)
