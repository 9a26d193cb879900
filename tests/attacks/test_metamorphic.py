"""Relations that hold whatever the victim is: units, order of features, opposite goals, steps, radii."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    FGSM,
    PGD,
    ActionShift,
    HighReward,
    L0Ball,
    L1Ball,
    L2Ball,
    LinfBall,
    LowValue,
    Noise,
    Search,
    SeekAction,
    Square,
    WeightedSum,
)
from advwrap.randomness import Streams
from advwrap.testing import strategies
from advwrap.testing.victims import LinearValue
from advwrap.victims import Categorical

FEATURES = 4
BALLS = [LinfBall, L2Ball, L1Ball, lambda eps: L0Ball(2, eps)]
NAMES = ["linf", "l2", "l1", "l0"]
W = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)

cleans = strategies.observations(shape=(FEATURES,), rows=3, dtype=torch.float64, largest=2.0)
scales = st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0]), min_size=FEATURES, max_size=FEATURES).map(
    lambda s: torch.tensor(s, dtype=torch.float64)
)


def curved(observation):
    """A value with a bend in every feature; sums of features are as they are in any order."""
    return (observation * W).tanh().sum(-1)


def streams():
    return Streams.seeded(range(3))


def attack(objective, within):
    return PGD(objective, within=within, steps=4)


@pytest.mark.parametrize("ball", BALLS, ids=NAMES)
@given(clean=cleans, scale=scales)
def test_units_do_not_matter(ball, clean, scale):
    """Scaling every observation, the radius and the victim's eyes together scales the result."""
    eps = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)
    usual = attack(LowValue(value=curved), ball(eps))(clean, generator=streams())
    scaled = attack(LowValue(value=lambda o: curved(o / scale)), ball(eps * scale))(clean * scale, generator=streams())
    assert torch.allclose(scaled, usual * scale, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ball", BALLS[:3], ids=NAMES[:3])
@given(clean=cleans, order=st.permutations(range(FEATURES)))
def test_order_of_features_does_not_matter(ball, clean, order):
    """For a deterministic attack; an L0 ball has ties, which the first feature wins."""
    order = torch.tensor(order)
    eps = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)

    def shuffled(observation):
        return curved(observation[:, order.argsort()])

    def run(value, within, x):
        return PGD(LowValue(value=value), within=within, steps=4, random_start=0.0)(x)

    usual, moved = run(curved, ball(eps), clean), run(shuffled, ball(eps[order]), clean[:, order])
    assert torch.allclose(moved, usual[:, order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ball", BALLS, ids=NAMES)
@given(clean=cleans)
def test_opposite_objectives_swap(ball, clean):
    """Minus the objective is the opposite objective."""
    low, high = LowValue(value=curved), HighReward(value=curved)
    for one, other in ((low, WeightedSum((-1.0, high))), (high, WeightedSum((-1.0, low)))):
        a, b = (attack(objective, ball(0.3))(clean, generator=streams()) for objective in (one, other))
        assert torch.equal(a, b)


@given(cleans, st.floats(0.01, 100.0))
def test_size_of_the_objective_does_not_matter(clean, factor):
    low = LowValue(value=curved)
    a, b = (attack(o, LinfBall(0.3))(clean, generator=streams()) for o in (low, WeightedSum((factor, low))))
    assert torch.allclose(a, b, atol=1e-9)


@given(cleans)
def test_seeking_the_present_action_changes_no_decision(clean):
    """Targeted at what the victim does anyway, the attack leaves the decision as it is."""

    def logits(o):
        return torch.stack([o.sum(-1), -o[:, 0], o[:, 1]], -1)

    present = logits(clean).argmax(-1)
    seek = PGD(SeekAction(Categorical(logits), target=present), within=LinfBall(0.5), steps=4, best=True)
    assert torch.equal(logits(seek(clean, generator=streams())).argmax(-1), present)


@given(cleans, st.integers(1, 4))
def test_more_steps_are_never_worse(clean, steps):
    """With the best iterate and a constant step, a longer search has seen all that the shorter one has."""
    low = LowValue(value=curved)
    short, long = (
        PGD(low, within=L2Ball(0.5), steps=n, step_size=0.7, best=True)(clean, generator=streams())
        for n in (steps, steps + 1)
    )
    assert (curved(long) <= curved(short) + 1e-9).all()
    assert (curved(short) <= curved(clean)).all()


@given(cleans, st.integers(1, 3), st.booleans())
def test_more_restarts_are_never_worse(clean, restarts, best):
    """Of a victim with many optima, and of few steps: where a search ends depends on where it starts."""

    def wavy(observation):
        return (observation * 20 * W).cos().sum(-1)

    few, more = (
        PGD(LowValue(value=wavy), within=LinfBall(0.5), steps=2, best=best, restarts=n)(clean, generator=streams())
        for n in (restarts, restarts + 1)
    )
    assert (wavy(more) <= wavy(few) + 1e-9).all()


@given(cleans, st.integers(1, 20))
def test_more_tries_are_never_worse(clean, tries):
    """Where a longer search begins as the shorter one does."""
    from advwrap import RandomSearch

    low = LowValue(value=curved)
    few, more = (
        Search(low, within=L1Ball(0.5), strategy=RandomSearch(n))(clean, generator=streams())
        for n in (tries, tries + 5)
    )
    assert (curved(more) <= curved(few) + 1e-9).all()
    assert (curved(few) <= curved(clean)).all()
    assert (
        curved(Search(low, within=L1Ball(0.5), strategy=Square(tries))(clean, generator=streams())) <= curved(clean)
    ).all()


@pytest.mark.parametrize("ball", BALLS, ids=NAMES)
@given(clean=cleans, radii=st.tuples(st.floats(0, 2), st.floats(0, 2)).map(sorted))
def test_larger_balls_are_worse_for_the_victim(ball, clean, radii):
    """Exactly, for a linear victim: nested sets have nested optima."""
    v = LinearValue(W)
    small, large = (FGSM(LowValue(value=v), within=ball(eps))(clean) for eps in radii)
    with torch.no_grad():
        assert (v(large) <= v(small) + 1e-9).all()
        assert (v(small) <= v(clean) + 1e-9).all()


@given(cleans, st.floats(0.1, 5.0))
def test_noise_grows_with_the_radius(clean, eps):
    """One seed draws one direction: the radius stretches it."""
    zero = torch.zeros_like(clean)
    one, many = (Noise(LinfBall(e))(zero, generator=streams()) for e in (1.0, eps))
    assert torch.allclose(many, one * eps)


@given(cleans)
def test_float32_is_float64_up_to_rounding(clean):
    """P19: the same streams, the same search, other digits."""
    for objective in (
        LowValue(value=lambda o: (o * W.to(o)).tanh().sum(-1)),
        ActionShift(lambda o: (o * W.to(o)).tanh()),
    ):
        for ball in (LinfBall(0.3), L2Ball(0.3)):
            search = PGD(objective, within=ball, steps=3)
            double, single = (search(c, generator=streams()) for c in (clean, clean.float()))
            # A sign may flip where the gradient is all but 0; what the search reaches is the same.
            score = objective(clean)
            assert torch.allclose(score(double), score(single.double()), atol=1e-4)
