"""Every objective in two dimensions: attacks with restarts agree with brute force on a grid."""

import pytest
import torch

from advwrap import (
    PGD,
    ActionShift,
    AvoidAction,
    Corners,
    CrossEntropy,
    HighReward,
    L2Ball,
    Langevin,
    LinfBall,
    LowValue,
    PolicyKL,
    Search,
    SeekAction,
    Square,
    WeightedSum,
)
from advwrap.randomness import Streams
from advwrap.testing.victims import QuadraticQ
from advwrap.testing.worst_case import brute_force
from advwrap.victims import Categorical, Gaussian

RESTARTS = 12


def net(features, outputs, seed):
    """A small smooth network in float64, not far from linear inside a ball of radius 0.4."""
    layers = torch.nn.Linear(features, 8), torch.nn.Tanh(), torch.nn.Linear(8, outputs)
    generator = torch.Generator().manual_seed(seed)
    module = torch.nn.Sequential(*layers).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return module


def objectives(features):
    policy, logits = net(features, 2, 1), net(features, 3, 2)
    critic, value = net(features + 2, 1, 3), net(features, 1, 4)
    return {
        "mad": ActionShift(policy),
        "mad of probabilities": ActionShift(Categorical(logits)),
        "min-Q": LowValue(policy, critic),
        "min-Q of twins": LowValue(policy, [critic, net(features + 2, 1, 5)], reduce=torch.amin),
        "min-V": LowValue(value=value),
        "MR": HighReward(policy, critic),
        "cross entropy": CrossEntropy(Categorical(logits)),
        "cross entropy of a Gaussian": CrossEntropy(Gaussian(policy, std=torch.tensor([0.3, 1.0]).double())),
        "KL": PolicyKL(Categorical(logits)),
        "avoid": AvoidAction(Categorical(logits)),
        "seek": SeekAction(Categorical(logits)),
        "sum": WeightedSum((1.0, ActionShift(policy)), (0.5, LowValue(value=value))),
    }


def clean_of(features):
    return torch.randn(1, features, generator=torch.Generator().manual_seed(features), dtype=torch.float64)


@pytest.mark.parametrize("within", [LinfBall(0.4), L2Ball(0.4)], ids=repr)
@pytest.mark.parametrize("name", objectives(2))
def test_pgd_agrees_with_the_grid(name, within):
    objective, clean = objectives(2)[name], clean_of(2)
    attack = PGD(objective, within=within, steps=40, restarts=RESTARTS, best=True, step_size=lambda i: 0.5 * 0.9**i)
    adv = attack(clean, generator=Streams.seeded([0]))
    with torch.no_grad():
        # Bound to as many rows as the grid has: the clean side is the same for all of them.
        best, _ = brute_force(objective(clean.expand(81**2, -1)), clean[0], within, points=81)
        reached, natural = objective(clean)(adv)[0], objective(clean)(clean)[0]
    gain, possible = reached - natural, best - natural
    assert possible > 0, "the objective must be worth something here"
    assert gain >= 0.995 * possible
    # The grid is coarse, the attack is not: it may find a little more.
    assert gain <= 1.1 * possible + 1e-9


def _points(features):
    return {1: 401, 2: 81, 3: 25}[features]


@pytest.mark.parametrize("strategy", [Square(tries=400), Corners()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["mad", "min-Q", "cross entropy"])
def test_search_agrees_with_the_grid(name, strategy):
    """Monotone enough here for its maximum to be a corner of the box."""
    objective, clean, within = objectives(2)[name], clean_of(2), LinfBall(0.1)
    adv = Search(objective, within=within, strategy=strategy)(clean, generator=Streams.seeded([0]))
    with torch.no_grad():
        best, _ = brute_force(objective(clean.expand(81**2, -1)), clean[0], within, points=81)
        natural, reached = objective(clean)(clean)[0], objective(clean)(adv)[0]
    assert reached - natural >= 0.9 * (best - natural)


def test_langevin_agrees_with_the_grid():
    """With little noise; as much as the reference has would leave it a random walk."""
    objective, clean, within = objectives(2)["mad"], clean_of(2), LinfBall(0.2)
    attack = Langevin(objective, within=within, steps=50, beta=1e6)
    adv = attack(clean.expand(RESTARTS, -1), generator=Streams.seeded(range(RESTARTS)))
    with torch.no_grad():
        best, _ = brute_force(objective(clean.expand(81**2, -1)), clean[0], within, points=81)
        reached = objective(clean.expand(RESTARTS, -1))(adv).max()
    assert reached >= 0.99 * best


@pytest.mark.parametrize("features", [1, 2, 3])
def test_quadratic_q_agrees_with_the_grid_and_the_formula(features):
    """The action attack from anywhere: a corner far from the peak."""
    q, state = QuadraticQ.random(features, seed=features), torch.ones(1, features).double()
    action, within = clean_of(features), LinfBall(0.3)
    attack = PGD(LowValue(critic=q), within=within, restarts=RESTARTS)
    adv = attack(action, context={"observation": state}, generator=Streams.seeded([0]))
    with torch.no_grad():
        rows = _points(features) ** features
        objective = LowValue(critic=q)(action.expand(rows, -1), {"observation": state.expand(rows, -1)})
        best, _ = brute_force(objective, action[0], within, points=_points(features))
        assert -q(state, adv).item() == pytest.approx(best.item(), rel=1e-6)
        assert q.lowest_done(state, action, within).item() == pytest.approx(-best.item(), rel=1e-6)
