"""Small state-adversarial MDPs in arrays: what a target computes, exactly.

Everything that training only estimates can be enumerated here: the adversary that minimises a soft value, its operator,
its fixed point, the value of a policy under any fixed adversary. For tests of a target of your own, and of ours.

Shapes: S states, O observations, A actions; Q [S, A], a policy pi(a | s~) [O, A], an adversary nu(s~ | s) [S, O].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

Array = NDArray[np.float64]
Worst = Callable[[Array, Array], Array]
"""From the values V(s, s~) [S, O] and the prior [S, O] to the worst value of every state, [S]."""


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A state-adversarial MDP.

    Source: Zhang et al. 2020 (SA-MDP) in the notation of VALT, section 3.1.

    Args:
        rewards: r(s, a), [S, A].
        transitions: F(s' | s, a), [S, A, S].
        prior: p(s~ | s), [S, O]; 0 where the adversary cannot go.
        gamma: The discount.

    Example:
        >>> mdp = TabularMDP.random(np.random.default_rng(0), states=3, observations=4, actions=2)
        >>> mdp.backup(np.zeros(3)).shape
        (3, 2)
    """

    rewards: Array
    transitions: Array
    prior: Array
    gamma: float

    @classmethod
    def random(
        cls, rng: np.random.Generator, *, states: int, observations: int, actions: int, gamma: float = 0.9
    ) -> TabularMDP:
        """One with normal rewards; some observations are out of reach in some states."""
        reachable = rng.random((states, observations)) < 0.7
        reachable[np.arange(states), rng.integers(observations, size=states)] = True
        prior = rng.dirichlet(np.ones(observations), size=states) * reachable
        return cls(
            rewards=rng.normal(size=(states, actions)),
            transitions=rng.dirichlet(np.ones(states), size=(states, actions)),
            prior=prior / prior.sum(1, keepdims=True),
            gamma=gamma,
        )

    def backup(self, values: Array) -> Array:
        """One step: r + gamma E[V(s')], [S, A]."""
        return self.rewards + self.gamma * self.transitions @ values

    def agent_operator(self, q: Array, policy: Array, worst: Worst, *, entropy: float = 0.0) -> Array:
        """VALT, eq. 7: (T Q)(s, a) = r + gamma E[min_nu V(s')], for the `worst` of an adversary."""
        return self.backup(worst(seen_values(q, policy, entropy=entropy), self.prior))

    def adversary_operator(self, q: Array, policy: Array, worst: Worst, *, entropy: float = 0.0) -> Array:
        """VALT, eq. 8, on the adversary's Q(s, s~) [S, O]: c(s, s~) + gamma E[max_nu V(s')], c = -E_pi[r].

        max over nu of E_nu[Q] - alpha_ent H - D is minus the min of E_nu[-Q + alpha_ent H] + D.
        """
        best = -worst(-q + entropy * entropies(policy), self.prior)
        following: Array = np.einsum("sat,t,oa->so", self.transitions, best, policy)
        return -self.rewards @ policy.T + self.gamma * following

    def evaluate(self, policy: Array, adversary: Array, *, entropy: float = 0.0, price: Array | float = 0.0) -> Array:
        """Q of a policy under a fixed adversary, who adds `price` [S] to the value of every state; solved exactly.

        V(s) = sum_s~ nu(s~|s) sum_a pi(a|s~) (Q(s, a) - alpha_ent log pi(a|s~)) + price(s)
        """
        states, actions = self.rewards.shape
        acted = adversary @ policy
        bonus = entropy * adversary @ entropies(policy) + price
        moves = (self.transitions[..., None] * acted).reshape(states * actions, states * actions)
        flat: Any = np.linalg.solve(np.eye(states * actions) - self.gamma * moves, self.backup(bonus).reshape(-1))
        return flat.reshape(self.rewards.shape)  # type: ignore[no-any-return]


def entropies(policy: Array) -> Array:
    """H(pi(. | s~)), [O].

    Example:
        >>> entropies(np.array([[0.5, 0.5], [0.9, 0.1]])).round(3)
        array([0.693, 0.325])
    """
    return -xlogy(policy, policy).sum(-1)  # type: ignore[no-any-return]


def seen_values(q: Array, policy: Array, *, entropy: float = 0.0) -> Array:
    """V(s, s~) = E_{a ~ pi(.|s~)}[Q(s, a)] + alpha_ent H(pi(.|s~)), [S, O].

    Example:
        >>> seen_values(np.array([[1.0, 3.0]]), policy=np.array([[0.5, 0.5], [0.0, 1.0]]))
        array([[2., 3.]])
    """
    return q @ policy.T + entropy * entropies(policy)


def soft_worst(values: Array, prior: Array, temperature: float) -> Array:
    """VALT, eq. 9: nu = p exp(-V / alpha) / Z, [S, O].

    Example:
        >>> soft_worst(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), temperature=1.0).round(3)
        array([[0.731, 0.269]])
    """
    energy = np.where(prior > 0, -values / temperature, -np.inf)
    weights = prior * np.exp(energy - energy.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)  # type: ignore[no-any-return]


def soft_worst_value(values: Array, prior: Array, temperature: float) -> Array:
    """VALT, eq. 26: -alpha log sum p exp(-V / alpha), [S].

    Example:
        >>> soft_worst_value(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), temperature=1.0).round(3)
        array([0.38])
    """
    least = np.where(prior > 0, values, np.inf).min(1, keepdims=True)
    mass = (prior * np.exp(np.minimum(least - values, 0.0) / temperature)).sum(1)
    return least[:, 0] - temperature * np.log(mass)  # type: ignore[no-any-return]


def soft_objective(values: Array, prior: Array, temperature: float, adversary: Array) -> Array:
    """What eq. 9 minimises (eq. 7 with f = x log x): E_nu[V] + alpha KL(nu || p), [S].

    Example:
        >>> values, prior = np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])
        >>> soft_objective(values, prior, 1.0, adversary=soft_worst(values, prior, 1.0)).round(3)
        array([0.38])
    """
    return (adversary * values).sum(1) + temperature * divergence(adversary, prior)  # type: ignore[no-any-return]


def divergence(adversary: Array, prior: Array) -> Array:
    """KL(nu || p) per state, [S]; infinite where nu goes and p does not.

    Example:
        >>> divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])).round(3)
        array([0.693])
    """
    ratio: Any = np.divide(adversary, prior, out=np.full_like(prior, np.inf), where=prior > 0)
    return xlogy(adversary, np.where(adversary > 0, ratio, 1.0)).sum(1)  # type: ignore[no-any-return]


def epsilon_worst(values: Array, prior: Array, kappa: float) -> Array:
    """VALT, eq. 12: kappa on the worst reachable observation (the first of equals), 1 - kappa as the prior, [S, O].

    Example:
        >>> epsilon_worst(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), kappa=0.5)
        array([[0.75, 0.25]])
    """
    nu: Array = (1 - kappa) * prior
    nu[np.arange(len(nu)), np.where(prior > 0, values, np.inf).argmin(1)] += kappa
    return nu


def epsilon_worst_value(values: Array, prior: Array, kappa: float) -> Array:
    """VALT, eq. 45: kappa min V + (1 - kappa) E_p[V], [S].

    Example:
        >>> epsilon_worst_value(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), kappa=0.5)
        array([0.25])
    """
    least = np.where(prior > 0, values, np.inf).min(1)
    return kappa * least + (1 - kappa) * (prior * values).sum(1)  # type: ignore[no-any-return]
