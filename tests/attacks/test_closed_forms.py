"""On victims whose worst case is known, the attacks find it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    FGSM,
    PGD,
    ActionShift,
    AvoidAction,
    Corners,
    CrossEntropyMethod,
    HighReward,
    L0Ball,
    L1Ball,
    L2Ball,
    Langevin,
    LinfBall,
    LowValue,
    Masked,
    RandomSearch,
    Search,
    Square,
)
from advwrap.randomness import Streams
from advwrap.testing import strategies
from advwrap.testing.victims import LinearPolicy, LinearQ, LinearValue, QuadraticQ, TwoActions
from advwrap.testing.worst_case import support
from advwrap.victims import Categorical

FEATURES = 5
EPS = torch.tensor([0.5, 0.0, 2.0, 0.1, 1.0], dtype=torch.float64)
BALLS = [
    LinfBall(0.3),
    LinfBall(EPS),
    L2Ball(0.3),
    L2Ball(EPS),
    L1Ball(0.3),
    L1Ball(EPS),
    L0Ball(2, 0.3),
    L0Ball(2, EPS),
]
CONVEX = BALLS[:6]
MASK = torch.tensor([True, False, True, True, False])

cleans = strategies.observations(shape=(FEATURES,), rows=2, dtype=torch.float64)


def streams(clean):
    return Streams.seeded(range(len(clean)))


def values(v, adv):
    with torch.no_grad():
        return v(adv)


def linear(seed, dtype=torch.float64):
    return LinearValue.random(FEATURES, seed=seed).to(dtype)


@pytest.mark.parametrize("within", [*BALLS, Masked(L2Ball(EPS), MASK)], ids=repr)
@given(cleans, st.integers(0, 50))
def test_fgsm_is_exact_in_one_step(within, clean, seed):
    v = linear(seed)
    adv = FGSM(LowValue(value=v), within=within)(clean)
    assert torch.allclose(values(v, adv), v.lowest(clean, within), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("within", "steps", "step_size"),
    [
        (LinfBall(0.3), 10, None),
        (LinfBall(EPS), 10, None),
        (L2Ball(0.3), 40, 2.0),
        (L2Ball(EPS), 40, 2.0),
        (L1Ball(0.3), 40, 2.0),
        (L1Ball(EPS), 40, 2.0),
        (Masked(LinfBall(0.3), MASK), 10, None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("best", [False, True])
def test_pgd_reaches_the_optimum(within, steps, step_size, best):
    v, clean = linear(3), torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    attack = PGD(LowValue(value=v), within=within, steps=steps, step_size=step_size, best=best)
    reached, lowest = values(v, attack(clean, generator=streams(clean))), v.lowest(clean, within)
    assert torch.allclose(reached, lowest, rtol=1e-6, atol=1e-6)
    assert (reached >= lowest - 1e-9).all()  # nothing is lower than the lowest


@given(cleans.map(lambda c: c.float()), st.integers(0, 50))
def test_pgd_is_exact_in_float32(clean, seed):
    """In the box every feature ends on its border, whatever the start was."""
    v = linear(seed, torch.float32)
    adv = PGD(LowValue(value=v), within=LinfBall(0.3))(clean, generator=streams(clean))
    assert torch.allclose(values(v, adv).double(), v.lowest(clean, LinfBall(0.3)), atol=1e-4)


def test_pgd_never_passes_the_optimum():
    """Also not with one step too few: it is a bound from below."""
    clean = torch.zeros(8, FEATURES, dtype=torch.float64)
    for within in CONVEX:
        v = linear(1)
        reached = values(v, PGD(LowValue(value=v), within=within, steps=2)(clean, generator=streams(clean)))
        assert (reached >= v.lowest(clean, within) - 1e-9).all()


@pytest.mark.parametrize("within", [LinfBall(0.3), L2Ball(0.3), L1Ball(0.3)], ids=repr)
def test_mad_on_a_linear_policy(within):
    """Convex, with two equal maxima: d and -d."""
    victim = LinearPolicy.random(FEATURES)
    clean = torch.randn(6, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    adv = PGD(ActionShift(victim), within=within, steps=40, step_size=2.0)(clean, generator=streams(clean))
    with torch.no_grad():
        shift = (victim(adv) - victim(clean)).square().sum(-1)
    assert torch.allclose(shift, victim.largest_shift(within).expand(6), rtol=1e-5)


def test_langevin_without_noise_is_exact_in_the_box():
    victim = LinearPolicy.random(FEATURES)
    clean = torch.zeros(6, FEATURES, dtype=torch.float64)
    attack = Langevin(ActionShift(victim), within=LinfBall(0.3), steps=20, step_size=0.25, beta=float("inf"))
    with torch.no_grad():
        shift = (victim(attack(clean, generator=streams(clean))) - victim(clean)).square().sum(-1)
    assert torch.allclose(shift, victim.largest_shift(LinfBall(0.3)).expand(6), rtol=1e-9)


@pytest.mark.parametrize("within", [LinfBall(0.3), L2Ball(0.3), L1Ball(0.3)], ids=repr)
def test_min_q_of_seen_observations(within):
    policy, q = LinearPolicy.random(FEATURES, 2, seed=4), LinearQ.random(FEATURES, 2, seed=5)
    clean = torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    adv = FGSM(LowValue(policy, q), within=within)(clean)
    with torch.no_grad():
        reached = q(clean, policy(adv))  # the true state, with the action of what was seen
    assert torch.allclose(reached, q.lowest_seen(clean, policy, within))


@pytest.mark.parametrize("within", [LinfBall(0.3), L2Ball(0.3), L1Ball(0.3)], ids=repr)
def test_min_q_of_actions(within):
    q = LinearQ.random(FEATURES, 3, seed=6)
    state, action = torch.ones(4, FEATURES).double(), torch.zeros(4, 3).double()
    adv = FGSM(LowValue(critic=q), within=within)(action, context={"observation": state})
    with torch.no_grad():
        assert torch.allclose(q(state, adv), q.lowest_done(state, action, within))


def test_quadratic_q_from_its_peak():
    """The victim acts optimally: the gradient is 0 there, and a random start finds a corner."""
    q = QuadraticQ.random(3, seed=7)
    state = torch.ones(5, 3).double()
    action = (q.peak * state).detach()
    attack = PGD(LowValue(critic=q), within=LinfBall(0.2))
    adv = attack(action, context={"observation": state}, generator=streams(action))
    with torch.no_grad():
        assert torch.allclose(q(state, adv), q.lowest_done(state, action, LinfBall(0.2)))


@pytest.mark.parametrize("within", [LinfBall(0.3), L2Ball(0.3), L1Ball(0.3)], ids=repr)
def test_avoid_action_of_two(within):
    """-log pi(a*|x) is log(1 + exp(-|z| shrunk by the reach)): one step is exact."""
    victim = TwoActions.random(FEATURES, seed=8)
    clean = torch.randn(6, FEATURES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    adv = FGSM(AvoidAction(Categorical(victim)), within=within)(clean)
    with torch.no_grad():
        z, moved = victim(clean)[:, 1], victim(adv)[:, 1]
    low, high = victim.reach(clean, within).unbind(-1)
    assert torch.allclose(moved, torch.where(z > 0, low, high))


@pytest.mark.parametrize(
    ("strategy", "share"),
    [
        (Corners(), 1.0),
        (Square(tries=300), 0.95),
        (CrossEntropyMethod(rounds=10, samples=40, elite=8), 0.95),
        (RandomSearch(500), 0.5),
    ],
    ids=lambda x: type(x).__name__,
)
@pytest.mark.parametrize("within", [LinfBall(0.3), L1Ball(0.3)], ids=repr)
def test_search_without_gradients(strategy, share, within):
    """The black box finds this share of the possible gain, and never more than all of it."""
    v = linear(9)
    black_box = LowValue(value=lambda obs: v(obs).detach())
    clean = torch.zeros(4, FEATURES, dtype=torch.float64)
    gain = -values(v, Search(black_box, within=within, strategy=strategy)(clean, generator=streams(clean)))
    possible = support(within, v.weight.detach())
    assert (gain <= possible + 1e-9).all()
    floor = share if isinstance(within, LinfBall) or share == 1.0 else 0.3
    assert (gain >= floor * possible - 1e-9).all()


def test_square_search_keeps_what_helps():
    """In thirty features, where trying vertices at random finds half of the gain."""
    v = LinearValue.random(30, seed=1)
    black_box, clean = LowValue(value=lambda obs: v(obs).detach()), torch.zeros(4, 30).double()
    adv = Search(black_box, within=LinfBall(0.3), strategy=Square(tries=300))(clean, generator=streams(clean))
    assert (-values(v, adv) >= 0.8 * support(LinfBall(0.3), v.weight.detach())).all()


@pytest.mark.parametrize("within", CONVEX, ids=repr)
@given(cleans)
def test_opposite_objectives_meet_at_opposite_ends(within, clean):
    """Metamorphic: low and high value of one linear critic are symmetric around the clean value."""
    v = linear(2)
    low, high = (values(v, FGSM(kind(value=v), within=within)(clean)) for kind in (LowValue, HighReward))
    assert torch.allclose(low + high, 2 * values(v, clean), atol=1e-9)
