"""Which actions a policy can be made to take."""

from __future__ import annotations

import torch
from torch import Tensor

from advwrap.bounds.box import Box
from advwrap.bounds.layers import IntervalLayer, known_layers
from advwrap.bounds.network import IntervalNetwork, through
from advwrap.victims import AnyPolicy, Policy, as_policy
from advwrap.victims.heads import CategoricalHead, DeterministicHead, NormalHead, OutputHead
from advwrap.victims.tensordict_heads import SquashedHead


class ActionBounds:
    """The box of mean actions that a policy takes when it sees any point of a box of observations.

    low_j <= mu_j(x) <= high_j   for every x in the box

    through the tanh and the limits of the actions, by interval bound propagation (`IntervalNetwork`). For a discrete
    policy these are bounds of the probabilities: one is lowest where its logit is lowest and all others are highest.

    Source: Gowal et al. 2018; the action box of WocaR (Liang et al., *Efficient adversarial training without
        attacking*, NeurIPS 2022).

    Args:
        policy: Anything that `advwrap.victims.as_policy` takes and that is a plain chain of layers: a network,
            `Gaussian(net)`, a TorchRL actor (`TanhNormal`, `IndependentNormal`, `TanhDelta`, `OneHotCategorical`, ...),
            a Stable-Baselines3 model. A squashing function of your own must not decrease.

    Shapes: low, high [B, features] -> [B, actions].

    Raises:
        TypeError: If the policy is not a plain chain.

    Example:
        >>> from torch import nn
        >>> from advwrap.bounds import box_around
        >>> from advwrap.sets import LinfBall
        >>> policy, observation = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), torch.zeros(1, 3)
        >>> box = ActionBounds(policy)(box_around(observation, LinfBall(0.1)))
        >>> box.contains(policy(observation + 0.1)).all().item()
        True
    """

    def __init__(self, policy: AnyPolicy) -> None:
        self.policy: Policy = as_policy(policy)
        acting, network = self.policy.acting, self.policy.network
        self._acting: list[IntervalLayer] | None = None
        if acting is not None and acting.chain is not None and not acting.rest:
            self._acting = known_layers(acting.chain.layers)
        elif network is not None and _is_known(self.policy):
            self._network = IntervalNetwork(network.module)
        else:
            raise TypeError(
                f"`policy` must be a chain of layers from the observation to the action, got {self.policy}. "
                "Fix: IntervalNetwork(net) bounds its network alone."
            )

    def __call__(self, box: Box) -> Box:
        """The box of actions."""
        if self._acting is not None:
            return through(self._acting, box)
        low, high = self._network(box)
        if isinstance(self.policy.head, CategoricalHead):
            return _probabilities(low, high)
        return Box(self._act(low), self._act(high))

    def _act(self, end: Tensor) -> Tensor:
        """The mean action of one end of the box of locs: what follows never decreases."""
        head = self.policy.head
        pair = isinstance(head, NormalHead) and head.std is None
        output = (end, torch.ones_like(end)) if pair else end
        return head.mean(output if self.policy.read is None else self.policy.read(output))

    def __repr__(self) -> str:
        return f"ActionBounds({self.policy})"


def _is_known(policy: Policy) -> bool:
    if isinstance(policy.head, CategoricalHead):
        # Action values that are put together from more than one output do not follow its ends.
        return getattr(policy.read, "change", None) is None
    return isinstance(policy.head, (DeterministicHead, NormalHead, SquashedHead, OutputHead))


def _probabilities(low: Tensor, high: Tensor) -> Box:
    """The least and the largest softmax of every logit in a box of them."""
    own = torch.eye(low.shape[-1], dtype=torch.bool, device=low.device)
    least = torch.where(own, low.unsqueeze(-2), high.unsqueeze(-2)).logsumexp(-1)
    most = torch.where(own, high.unsqueeze(-2), low.unsqueeze(-2)).logsumexp(-1)
    return Box((low - least).exp(), (high - most).exp())
