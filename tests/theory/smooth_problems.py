"""A smooth policy and twin critics on one or two observed features, and their exact soft-worst adversary on a grid."""

import math

import numpy as np
import torch

from advwrap import LinfBall
from advwrap.targets import SoftValue
from advwrap.victims import Gaussian

EPS = 0.5
BALL = LinfBall(EPS)
ENTROPY = 0.1
SCALE = 0.3


def loc(observation):
    """Of the policy's action, before the tanh: a curve, not a line."""
    weights = torch.tensor([1.2, -0.7][: observation.shape[-1]]).to(observation)
    return (observation * weights).sum(-1, keepdim=True).sin()


def policy():
    return Gaussian(lambda obs: (loc(obs), torch.full_like(loc(obs), SCALE)), squash=torch.tanh)


def critics():
    """Twin Q(s, a): both grow with the action, one is lower for small ones and the other for large ones."""

    def first(observation, action):
        return 7 - (action - 1.5 + 0.3 * observation.sum(-1, keepdim=True)).square().sum(-1)

    def second(observation, action):
        return 5 + (1.2 * action - 0.2 * observation.sum(-1, keepdim=True)).sum(-1)

    return [first, second]


def exact_value(clean, seen, *, nodes=60):
    """V(s, s~) by Gauss-Hermite quadrature over the action."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    z, total = loc(seen), 0.0
    for point, weight in zip(points, weights / math.sqrt(2 * math.pi), strict=True):
        before = z + SCALE * point
        action = before.tanh()
        q = torch.stack([critic(clean, action) for critic in critics()]).amin(0)
        log_prob = -(point**2) / 2 - math.log(SCALE * math.sqrt(2 * math.pi)) - torch.log1p(-action.square()).sum(-1)
        total = total + weight * (q - ENTROPY * log_prob)
    return total


def mean_value(clean, seen):
    """V(s, s~) of the mean action, without entropy."""
    action = loc(seen).tanh()
    return torch.stack([critic(clean, action) for critic in critics()]).amin(0)


class Grid:
    """The ball around one state, cut into cells; what eq. 9 and eq. 26 say there.

    Args:
        clean: The state, a list of one or two numbers.
        cells: Per feature.
        temperature: alpha.
        value: (clean, seen) -> V.
    """

    def __init__(self, clean, *, cells, temperature, value=exact_value):
        self.features, self.cells, self.temperature = len(clean), cells, temperature
        self.clean = torch.tensor([clean], dtype=torch.float64)
        middles = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells * 2 - 1
        self.push = torch.cartesian_prod(*[middles] * self.features).reshape(-1, self.features)  # in units of EPS
        self.values = value(self.clean.expand_as(self.push), self.clean + EPS * self.push)
        energy = -self.values / temperature
        self.law = energy.softmax(0)  # eq. 9; the prior is uniform
        self.soft_value = float(-temperature * (energy.logsumexp(0) - math.log(len(energy))))  # eq. 26
        self.divergence_of_law = float((self.law * (self.law * len(energy)).log()).sum())
        self.spread = float(self.values.max() - self.values.min())

    def histogram(self, seen):
        """The share of the samples in every cell."""
        push = (seen.double() - self.clean) / EPS
        index = ((push + 1) / 2 * self.cells).long().clamp(0, self.cells - 1)
        flat = index[:, 0] if self.features == 1 else index[:, 0] * self.cells + index[:, 1]
        return torch.bincount(flat, minlength=self.cells**self.features).double() / len(seen)

    def divergence_from(self, share):
        """KL(share || eq. 9), in nats, over the cells."""
        return float(torch.special.xlogy(share, share / self.law).sum())


def soft_value():
    return SoftValue(policy(), critics(), entropy=ENTROPY)
