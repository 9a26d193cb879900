"""The operators of VALT on random tabular MDPs: contraction, fixed points, symmetry, what is minimised."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from advwrap.testing.tabular import (
    divergence,
    entropies,
    epsilon_worst,
    epsilon_worst_value,
    seen_values,
    soft_objective,
    soft_worst,
    soft_worst_value,
)
from tests.theory.random_mdps import GAMMA, adversaries, adversary, agent, cases, fixed_point

temperatures = st.sampled_from([0.01, 0.3, 1.0, 30.0])
close = {"rtol": 0.0, "atol": 1e-8}


class TestSoftWorst:
    """Eq. 9 and eq. 26: the adversary that the Kullback-Leibler price makes soft."""

    @given(cases(), temperatures)
    def test_equation_9_minimises_equation_7(self, case, alpha):
        """No adversary has a lower E_nu[V] + alpha KL(nu || p), and its own is eq. 26."""
        prior, values = case.mdp.prior, seen_values(case.random_q(), case.policy, entropy=case.entropy)
        best = soft_worst(values, prior, alpha)
        least = soft_objective(values, prior, alpha, best)
        np.testing.assert_allclose(least, soft_worst_value(values, prior, alpha), **close)
        for _ in range(20):
            other = case.random_adversary()
            gap = soft_objective(values, prior, alpha, other) - least
            assert (gap >= -1e-9).all()
            if alpha >= 0.3:  # colder, eq. 9 is 0 in float64 where it is not
                # Not only no lower: it is higher by exactly alpha KL(nu || eq. 9).
                np.testing.assert_allclose(gap, alpha * divergence(other, best), rtol=1e-6, atol=1e-8)

    @given(cases(), st.sampled_from([0.3, 1.0, 30.0]))
    def test_an_optimiser_finds_equation_9(self, case, alpha):
        prior = case.mdp.prior[0][case.mdp.prior[0] > 0][None]
        values = seen_values(case.random_q()[:1], case.policy, entropy=case.entropy)[:, case.mdp.prior[0] > 0]

        def loss(logits):
            nu = np.exp(logits - logits.max())[None]
            nu /= nu.sum()
            slope = values + alpha * (np.log(np.maximum(nu, 1e-300) / prior) + 1)
            return soft_objective(values, prior, alpha, nu)[0], (nu * (slope - (nu * slope).sum()))[0]

        found = minimize(loss, np.log(prior[0]), jac=True, method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(found.fun, soft_worst_value(values, prior, alpha)[0], rtol=0, atol=1e-6)
        nu = np.exp(found.x - found.x.max())
        np.testing.assert_allclose(nu / nu.sum(), soft_worst(values, prior, alpha)[0], rtol=0, atol=1e-3)

    @given(cases())
    def test_between_the_worst_case_and_noise(self, case):
        prior, values = case.mdp.prior, seen_values(case.random_q(), case.policy)
        least = np.where(prior > 0, values, np.inf).min(1)
        mean = (prior * values).sum(1)
        at = [soft_worst_value(values, prior, alpha) for alpha in (1e-3, 0.1, 1.0, 10.0, 1e6)]
        assert all((low <= high + 1e-9).all() for low, high in pairwise(at))
        np.testing.assert_allclose(at[-1], mean, rtol=0, atol=1e-3)
        # From above: no closer than the price of certainty, -alpha log p.
        assert ((least - 1e-9 <= at[0]) & (at[0] <= least + 1e-3 * -np.log(prior[prior > 0].min()) + 1e-9)).all()

    def test_frozen_numbers(self):
        values, prior = np.array([[0.0, 1.0, 2.0]]), np.array([[0.25, 0.5, 0.25]])
        np.testing.assert_allclose(soft_worst(values, prior, 1.0), [[0.534447, 0.393224, 0.072329]], atol=1e-6)
        np.testing.assert_allclose(soft_worst_value(values, prior, 1.0), [0.759771], atol=1e-6)


class TestEpsilonWorst:
    """Eq. 12 and eq. 45."""

    @given(cases(), st.sampled_from([0.0, 0.3, 1.0]))
    def test_mixture_gives_exactly_equation_45(self, case, kappa):
        values = seen_values(case.random_q(), case.policy, entropy=case.entropy)
        nu = epsilon_worst(values, case.mdp.prior, kappa)
        np.testing.assert_allclose(nu.sum(1), 1.0)
        assert (nu[case.mdp.prior == 0] == 0).all()
        expected = epsilon_worst_value(values, case.mdp.prior, kappa)
        np.testing.assert_allclose((nu * values).sum(1), expected, rtol=0, atol=1e-12)

    @given(cases())
    def test_no_mixture_is_worse(self, case):
        """Among all kappa delta + (1 - kappa) p it is the least."""
        values, prior = seen_values(case.random_q(), case.policy), case.mdp.prior
        others = 0.3 * case.random_adversary() + 0.7 * prior
        assert ((others * values).sum(1) >= epsilon_worst_value(values, prior, 0.3) - 1e-12).all()

    def test_frozen_numbers(self):
        values, prior = np.array([[0.0, 1.0, -9.0]]), np.array([[0.5, 0.5, 0.0]])
        np.testing.assert_allclose(epsilon_worst(values, prior, 0.4), [[0.7, 0.3, 0.0]])
        np.testing.assert_allclose(epsilon_worst_value(values, prior, 0.4), [0.3])


class TestContraction:
    """Theorems 4.8 (soft) and 4.10 (epsilon): |T Q1 - T Q2| <= gamma |Q1 - Q2| in the maximum norm."""

    @given(cases(), adversaries())
    def test_the_operator_is_a_contraction(self, case, kind):
        operator, first, second = agent(case, kind), case.random_q(), case.random_q()
        before, after = abs(first - second).max(), abs(operator(first) - operator(second)).max()
        assert after <= GAMMA * before + 1e-10

    @given(cases(), adversaries())
    def test_the_modulus_is_gamma(self, case, kind):
        """No smaller one holds: a constant more of Q is gamma times that constant more of T Q."""
        operator, q = agent(case, kind), case.random_q()
        np.testing.assert_allclose(operator(q + 3.0) - operator(q), 3.0 * GAMMA, **close)

    @given(cases(), adversaries())
    def test_one_fixed_point_from_anywhere(self, case, kind):
        operator = agent(case, kind)
        first, second = (fixed_point(operator, case.random_q()) for _ in range(2))
        np.testing.assert_allclose(first, second, **close)

    @given(cases(), adversaries())
    def test_the_fixed_point_is_the_value_under_its_adversary(self, case, kind):
        """The adversary that belongs to the fixed point, held fixed and paid its price, gives the same Q."""
        q = fixed_point(agent(case, kind), case.random_q())
        values = seen_values(q, case.policy, entropy=case.entropy)
        nu = kind.adversary(values, case.mdp.prior)
        price = kind.price(nu, case.mdp.prior)
        np.testing.assert_allclose(
            case.mdp.evaluate(case.policy, nu, entropy=case.entropy, price=price), q, rtol=0, atol=1e-7
        )

    @given(cases(), temperatures)
    def test_no_adversary_makes_the_agent_worse_off(self, case, alpha):
        """Any other adversary, paid its price alpha KL, leaves at least the soft-worst Q everywhere (Prop. 4.4)."""

        def worst(values, prior):
            return soft_worst_value(values, prior, alpha)

        q = fixed_point(lambda q: case.mdp.agent_operator(q, case.policy, worst, entropy=case.entropy), case.random_q())
        other = case.random_adversary()
        price = alpha * divergence(other, case.mdp.prior)
        assert (case.mdp.evaluate(case.policy, other, entropy=case.entropy, price=price) >= q - 1e-7).all()


class TestSymmetry:
    """Theorem 4.6: the adversary's value is minus the agent's, V_pi^nu* = -V_nu*^pi."""

    @given(cases(), adversaries())
    def test_fixed_points_are_opposite(self, case, kind):
        """From any start of the adversary's Q, also one that is no E_pi[-Q'] as the theorem assumes."""
        q = fixed_point(agent(case, kind), case.random_q())
        start = 5.0 * case.rng.normal(size=case.mdp.prior.shape)
        of_adversary = fixed_point(adversary(case, kind), start)
        np.testing.assert_allclose(of_adversary, -q @ case.policy.T, **close)
        agents = kind.worst(seen_values(q, case.policy, entropy=case.entropy), case.mdp.prior)
        best = -kind.worst(-of_adversary + case.entropy * entropies(case.policy), case.mdp.prior)
        np.testing.assert_allclose(best, -agents, **close)

    @given(cases(), adversaries())
    def test_one_step_is_opposite(self, case, kind):
        """Eq. 18: for Q_nu = E_pi[-Q], one step of the adversary is minus the expectation of one step of the agent."""
        q = case.random_q()
        step = adversary(case, kind)(-q @ case.policy.T)
        np.testing.assert_allclose(step, -agent(case, kind)(q) @ case.policy.T, **close)

    @given(cases(), temperatures)
    def test_the_adversary_maximises(self, case, alpha):
        """Written out without the agent: alpha log sum p exp((Q - alpha_ent H) / alpha)."""
        q = 5.0 * case.rng.normal(size=case.mdp.prior.shape)
        weighed = (q - case.entropy * entropies(case.policy)) / alpha
        top = np.where(case.mdp.prior > 0, weighed, -np.inf).max(1, keepdims=True)
        best = alpha * (top[:, 0] + np.log((case.mdp.prior * np.exp(np.minimum(weighed - top, 0))).sum(1)))
        expected = -case.mdp.rewards @ case.policy.T + GAMMA * np.einsum(
            "sat,t,oa->so", case.mdp.transitions, best, case.policy
        )

        def worst(values, prior):
            return soft_worst_value(values, prior, alpha)

        actual = case.mdp.adversary_operator(q, case.policy, worst, entropy=case.entropy)
        np.testing.assert_allclose(actual, expected, **close)

    @given(cases(), adversaries())
    def test_the_adversarys_operator_is_a_contraction_too(self, case, kind):
        operator = adversary(case, kind)
        first, second = (5.0 * case.rng.normal(size=case.mdp.prior.shape) for _ in range(2))
        assert abs(operator(first) - operator(second)).max() <= GAMMA * abs(first - second).max() + 1e-10
        np.testing.assert_allclose(operator(first + 3.0) - operator(first), 3.0 * GAMMA, **close)


@pytest.mark.parametrize("alpha", [1e-6, 1e6])
def test_extreme_temperatures_stay_finite(alpha):
    values, prior = np.array([[-1e4, 1e4]]), np.array([[0.5, 0.5]])
    assert np.isfinite(soft_worst(values, prior, alpha)).all()
    assert np.isfinite(soft_worst_value(values, prior, alpha)).all()
