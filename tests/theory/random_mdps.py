"""Random state-adversarial MDPs and adversaries, as Hypothesis draws them."""

from functools import partial
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from advwrap.testing.tabular import (
    TabularMDP,
    divergence,
    epsilon_worst,
    epsilon_worst_value,
    soft_worst,
    soft_worst_value,
)

GAMMA = 0.8


class Case(NamedTuple):
    """An MDP, a policy, an entropy coefficient and random numbers to go on."""

    mdp: TabularMDP
    policy: np.ndarray
    entropy: float
    rng: np.random.Generator

    def random_q(self):
        return 5.0 * self.rng.normal(size=self.mdp.rewards.shape)

    def random_adversary(self):
        """Anywhere in the support of the prior, close to a corner or not."""
        reachable = self.mdp.prior > 0
        weights = self.rng.dirichlet(np.full(reachable.shape[1], 0.5), size=len(reachable)) * reachable + 1e-12
        weights *= reachable
        return weights / weights.sum(1, keepdims=True)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    states, observations = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    actions = draw(st.integers(1, 3))
    mdp = TabularMDP.random(rng, states=states, observations=observations, actions=actions, gamma=GAMMA)
    policy = rng.dirichlet(np.full(actions, draw(st.sampled_from([0.2, 1.0]))), size=observations)
    return Case(mdp, policy, draw(st.sampled_from([0.0, 0.2, 1.0])), rng)


class Soft(NamedTuple):
    """The adversary of eq. 9 at one temperature."""

    temperature: float

    def worst(self, values, prior):
        return soft_worst_value(values, prior, self.temperature)

    def adversary(self, values, prior):
        return soft_worst(values, prior, self.temperature)

    def price(self, adversary, prior):
        return self.temperature * divergence(adversary, prior)


class Epsilon(NamedTuple):
    """The adversary of eq. 12 for one kappa; its choice costs nothing."""

    kappa: float

    def worst(self, values, prior):
        return epsilon_worst_value(values, prior, self.kappa)

    def adversary(self, values, prior):
        return epsilon_worst(values, prior, self.kappa)

    def price(self, adversary, prior):
        return np.zeros(len(prior))


def adversaries():
    soft = st.sampled_from([0.01, 0.3, 1.0, 30.0]).map(Soft)
    epsilon = st.sampled_from([0.0, 0.3, 1.0]).map(Epsilon)
    return st.one_of(soft, epsilon)


def fixed_point(operator, start, *, steps=150):
    """Applied so often that 0.8 ** steps is nothing in float64."""
    q = start
    for _ in range(steps):
        q = operator(q)
    return q


def agent(case, kind):
    """The agent's operator under this kind of adversary."""
    return partial(case.mdp.agent_operator, policy=case.policy, worst=kind.worst, entropy=case.entropy)


def adversary(case, kind):
    """The adversary's operator."""
    return partial(case.mdp.adversary_operator, policy=case.policy, worst=kind.worst, entropy=case.entropy)
