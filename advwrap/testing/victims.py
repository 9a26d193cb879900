"""Victims whose worst case is known in closed form: what an attack should have found.

Every weight is given or drawn from a generator of its own; nothing here advances a global one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from advwrap.sets import LinfBall, PerturbationSet
from advwrap.testing.worst_case import support


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class LinearPolicy(nn.Module):
    """A deterministic policy whose action is linear in the observation: mu(s) = W s + b.

    Args:
        weight: W, shape [actions, features].
        bias: b, shape [actions]; 0 by default.

    Example:
        >>> victim = LinearPolicy(torch.tensor([[3.0, -4.0]]))
        >>> victim.largest_shift(LinfBall(0.1))
        tensor(0.4900, dtype=torch.float64)
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(torch.zeros_like(weight[:, 0]) if bias is None else bias.clone())

    @classmethod
    def random(cls, features: int, actions: int = 1, *, seed: int = 0) -> LinearPolicy:
        """Weights from N(0, 1), float64."""
        return cls(_draw(actions, features, seed=seed), _draw(actions, seed=seed + 1))

    def forward(self, observation: Tensor) -> Tensor:
        """The action, [B, features] -> [B, actions]."""
        return observation @ self.weight.T + self.bias

    def largest_shift(self, within: PerturbationSet) -> Tensor:
        """The maximum of `ActionShift` for one action feature: (max_d <w, d>)^2.

        Raises:
            ValueError: If there are several action features, for which it is no closed form.
        """
        if self.weight.shape[0] != 1:
            raise ValueError(
                f"the shift has a closed form for one action feature, got {self.weight.shape[0]}. "
                "Fix: LinearPolicy.random(features, actions=1)."
            )
        return support(within, self.weight[0].detach()).square()


class LinearValue(nn.Module):
    """A value function that is linear in the observation: V(s) = <w, s> + b.

    Args:
        weight: w, shape [features].
        bias: b.

    Example:
        >>> v = LinearValue(torch.tensor([3.0, -4.0]))
        >>> v.lowest(torch.ones(1, 2), LinfBall(0.1))
        tensor([-1.7000], dtype=torch.float64)
    """

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = bias

    @classmethod
    def random(cls, features: int, *, seed: int = 0) -> LinearValue:
        """Weights from N(0, 1), float64."""
        return cls(_draw(features, seed=seed))

    def forward(self, observation: Tensor) -> Tensor:
        """The value, [B, features] -> [B]."""
        return (observation * self.weight).sum(-1) + self.bias

    def lowest(self, clean: Tensor, within: PerturbationSet) -> Tensor:
        """The least V(s + d) in the set: V(s) - max_d <w, d>; shape [B], float64."""
        weight = self.weight.detach().double()
        return (clean.double() * weight).sum(-1) + self.bias - support(within, weight)


class LinearQ(nn.Module):
    """An action value that is linear in both: Q(s, a) = <u, s> + <v, a>.

    Args:
        state_weight: u, shape [features].
        action_weight: v, shape [actions].

    Example:
        >>> q = LinearQ(torch.ones(2), torch.tensor([2.0]))
        >>> policy = LinearPolicy(torch.tensor([[3.0, -4.0]]))
        >>> q.lowest_seen(torch.zeros(1, 2), policy, LinfBall(0.1))
        tensor([-1.4000], dtype=torch.float64)
    """

    def __init__(self, state_weight: Tensor, action_weight: Tensor) -> None:
        super().__init__()
        self.state_weight = nn.Parameter(state_weight.clone())
        self.action_weight = nn.Parameter(action_weight.clone())

    @classmethod
    def random(cls, features: int, actions: int, *, seed: int = 0) -> LinearQ:
        """Weights from N(0, 1), float64."""
        return cls(_draw(features, seed=seed), _draw(actions, seed=seed + 1))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """The value, [B, features], [B, actions] -> [B]."""
        return (observation * self.state_weight).sum(-1) + (action * self.action_weight).sum(-1)

    def lowest_seen(self, clean: Tensor, policy: LinearPolicy, within: PerturbationSet) -> Tensor:
        """Observation attack: min_d Q(s, mu(s + d)) = Q(s, mu(s)) - max_d <W^T v, d>; shape [B]."""
        with torch.no_grad():
            natural: Tensor = self(clean, policy(clean)).double()
            return natural - support(within, self.action_weight.double() @ policy.weight.double())

    def lowest_done(self, state: Tensor, action: Tensor, within: PerturbationSet) -> Tensor:
        """Action attack: min_d Q(s, a + d) = Q(s, a) - max_d <v, d>; shape [B]."""
        with torch.no_grad():
            natural: Tensor = self(state, action).double()
            return natural - support(within, self.action_weight)


class QuadraticQ(nn.Module):
    """A concave action value with its peak at a = g s.

    Q(s, a) = - 1/2 sum_j h_j (a_j - g_j s_j)^2

    Lowering it means maximising a convex function: the worst case is a vertex, and gradients vanish
    exactly where the policy is optimal. Observations and actions have the same features.

    Args:
        curvature: h > 0, shape [features].
        peak: g, shape [features].

    Example:
        >>> q = QuadraticQ(torch.tensor([2.0]), torch.tensor([1.0]))
        >>> q.lowest_done(torch.zeros(1, 1), torch.tensor([[0.5]]), LinfBall(0.1))
        tensor([-0.3600], dtype=torch.float64)
    """

    def __init__(self, curvature: Tensor, peak: Tensor) -> None:
        super().__init__()
        self.curvature = nn.Parameter(curvature.clone())
        self.peak = nn.Parameter(peak.clone())

    @classmethod
    def random(cls, features: int, *, seed: int = 0) -> QuadraticQ:
        """Curvatures exp(N(0, 1)) and peaks from N(0, 1), float64."""
        return cls(_draw(features, seed=seed).exp(), _draw(features, seed=seed + 1))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """The value, [B, features] twice -> [B]."""
        return -0.5 * (self.curvature * (action - self.peak * observation).square()).sum(-1)

    def lowest_done(self, state: Tensor, action: Tensor, within: LinfBall) -> Tensor:
        """Action attack in the box: - 1/2 sum_j h_j (|a_j - g_j s_j| + eps_j)^2; shape [B]."""
        with torch.no_grad():
            gap = (action - self.peak * state).double().abs() + torch.as_tensor(within.radius, dtype=torch.float64)
            return -0.5 * (self.curvature.double() * gap.square()).sum(-1)


class ElementwisePolicy(nn.Module):
    """A policy that moves every feature on its own: mu_j(s) = y_j / (1 + |y_j|), y = w s + b.

    Nothing here adds up over features or rows, so a row's action and gradient are bitwise the same
    in every batch: matrix products are not (their kernels depend on the batch size). Use it where
    numbers have to be equal and not only close.

    Args:
        weight: w, shape [features] (or any shape that broadcasts to an observation).
        bias: b; 0 by default.

    Example:
        >>> victim = ElementwisePolicy(torch.ones(3))
        >>> x = torch.linspace(-1, 1, 12).reshape(4, 3)
        >>> torch.equal(victim(x)[2:3], victim(x[2:3]))
        True
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(torch.zeros_like(weight) if bias is None else bias.clone())

    def forward(self, observation: Tensor) -> Tensor:
        """The action, [B, ...] -> [B, ...]."""
        y = observation * self.weight + self.bias
        return y / (1 + y.abs())


class TwoActions(nn.Module):
    """Logits of two actions, linear in the observation: (0, z) with z = <w, s> + b.

    pi(1|s) = sigmoid(z), so every objective on the policy is a function of z alone, and z reaches
    exactly [z - m, z + m] with m = max_d <w, d>. Monotone and convex objectives
    are largest at an end.

    Args:
        weight: w, shape [features].
        bias: b.

    Example:
        >>> victim = TwoActions(torch.tensor([3.0, -4.0]))
        >>> victim.reach(torch.zeros(1, 2), LinfBall(0.1))
        tensor([[-0.7000,  0.7000]], dtype=torch.float64)
    """

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = bias

    @classmethod
    def random(cls, features: int, *, seed: int = 0) -> TwoActions:
        """Weights from N(0, 1), float64."""
        return cls(_draw(features, seed=seed))

    def forward(self, observation: Tensor) -> Tensor:
        """The logits, [B, features] -> [B, 2]."""
        z = (observation * self.weight).sum(-1) + self.bias
        return torch.stack([torch.zeros_like(z), z], -1)

    def reach(self, clean: Tensor, within: PerturbationSet) -> Tensor:
        """The smallest and the largest z in the set around every row; [B, 2], float64."""
        weight = self.weight.detach().double()
        z = (clean.double() * weight).sum(-1) + self.bias
        most = support(within, weight)
        return torch.stack([z - most, z + most], -1)


class BlackBoxPolicy:
    """A policy in NumPy: no parameters, no gradient; mu(s) = s w in float64, cast back.

    Args:
        weight: w, shape [features, actions].

    Example:
        >>> BlackBoxPolicy(torch.ones(2, 1))(torch.ones(3, 2)).shape
        torch.Size([3, 1])
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach().double().numpy()

    def __call__(self, observation: Tensor) -> Tensor:
        """The action, [B, features] -> [B, actions]."""
        with np.errstate(invalid="ignore"):  # infinity times 0, in a row that is broken anyway
            action = observation.detach().cpu().double().numpy() @ self.weight
        return torch.from_numpy(action).to(observation)
