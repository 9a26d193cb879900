"""Sets that change from row to row and from step to step."""

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    PGD,
    ActionSet,
    AdversarialAction,
    Bounds,
    EveryNth,
    Gated,
    Identity,
    L1Ball,
    L2Ball,
    LinfBall,
    LowValue,
    Masked,
    Mixture,
    Noise,
    OverHorizon,
    RandomVertex,
    Streams,
    Varying,
)
from advwrap.attacks import Langevin, Learned
from advwrap.sets.varying import Scaled
from advwrap.testing import strategies
from advwrap.testing.contracts.sets import SetContract

SHARES = torch.tensor([0.0, 0.25, 1.0])


class TestHalfABall(SetContract):
    """A share of a ball is a set like any other."""

    def make_set(self, eps):
        return Scaled(L2Ball(eps), torch.tensor([[0.5]]))


def by_row(clean, context):
    return SHARES.repeat(len(clean) // 3)  # copies of the three rows lie one behind the other


@given(strategies.sets(shape=(3,), sparse=False), strategies.observations(shape=(3,), rows=3), st.integers(0, 99))
def test_a_share_of_a_set_is_the_set_with_a_share_of_the_radius(within, delta, seed):
    """Row by row: what the smaller set itself would do."""
    share = Varying(within, by_row).at(delta, None)
    for row, c in enumerate(SHARES.tolist()):
        alone = Scaled(within, torch.tensor([[c]]))
        torch.testing.assert_close(share.project(delta)[row], alone.project(delta[row : row + 1])[0])
    inside = share.project(delta)
    assert (inside[0] == 0).all()
    torch.testing.assert_close(inside[2], within.project(delta)[2])
    sample = share.sample(delta, Streams.seeded(range(seed, seed + 3)))
    assert (sample[0] == 0).all()
    assert within.contains(sample).all()


@pytest.mark.parametrize("ball", [LinfBall, L2Ball, L1Ball])
def test_against_balls_of_the_smaller_radius(ball):
    delta = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    share = Varying(ball(0.8), by_row).at(delta, None)
    for row, c in enumerate(SHARES.tolist()):
        small = ball(0.8 * c)
        torch.testing.assert_close(share.project(delta)[row : row + 1], small.project(delta[row : row + 1]))
        torch.testing.assert_close(share.steepest(delta)[row : row + 1], small.steepest(delta[row : row + 1]))
        edge = small.steepest(delta[row : row + 1])
        for factor in (0.999, 1.001):
            both = share.contains((edge * factor).expand(3, -1))[row], small.contains(edge * factor)[0]
            assert both[0] == both[1]


def low_sum():
    return LowValue(value=lambda x: x.flatten(1).sum(1))


@pytest.mark.parametrize(
    "attack",
    [
        lambda within: PGD(low_sum(), within=within, steps=3, best=True, restarts=2),
        lambda within: Langevin(low_sum(), within=within, steps=3),
        RandomVertex,
        Noise,
        lambda within: Learned(torch.nn.Linear(4, 4), within=within),
    ],
)
def test_every_attack_stays_in_its_share(attack):
    clean = torch.randn(3, 4)
    moved = (attack(Varying(LinfBall(0.5), by_row))(clean, generator=Streams.seeded(range(3))) - clean).abs().amax(1)
    assert moved[0] == 0
    assert 0 < moved[1] <= 0.125 + 1e-6
    assert 0.125 < moved[2] <= 0.5 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("ball", [LinfBall, L2Ball, L1Ball])
def test_next_to_nothing_is_left(ball, dtype):
    """A share of 1e-30 is no zero, and no reason for NaN."""
    share = Varying(ball(1.0), lambda clean, context: torch.full((2,), 1e-30, dtype=torch.float64))
    clean = torch.tensor([[100.0, -3.0], [0.0, 1.0]], dtype=dtype)
    for attack in (PGD(low_sum(), within=share, steps=2), Noise(share)):
        assert attack(clean, generator=Streams.seeded([0, 1])).isfinite().all()
    assert float(share.at(clean, None).project(clean).double().abs().max()) < 1.0001e-30


def test_images_and_radii_per_feature():
    clean = torch.zeros(3, 2, 2)
    radii = torch.tensor([[1.0, 0.0], [2.0, 4.0]])
    moved = RandomVertex(Varying(LinfBall(radii), by_row))(clean, generator=Streams.seeded(range(3))).abs()
    assert torch.equal(moved, SHARES[:, None, None] * radii)
    pushed = Learned(torch.ones_like, within=Varying(LinfBall(0.5), by_row))(clean)
    assert torch.equal(pushed, (SHARES * 0.5)[:, None, None].expand(3, 2, 2))


def test_gated_rows_get_their_own_share():
    """A gate hands on some rows: their context, and so their share, goes with them."""
    attack = Gated(RandomVertex(Varying(LinfBall(1.0), lambda clean, context: context["size"])), EveryNth(2))
    context = {"size": torch.tensor([0.1, 0.2, 0.3]), "episode_step": torch.tensor([1, 2, 4])}
    moved = attack(torch.zeros(3, 1), context=context)[:, 0].abs()
    torch.testing.assert_close(moved, torch.tensor([0.0, 0.2, 0.3]))


def test_the_state_decides_about_the_actions():
    """Pendulum: an adversary that acts on one side only."""
    side = Varying(LinfBall(2.0), lambda clean, context: (context["observation"][:, 1] > 0).float())
    env = AdversarialAction(gymnasium.make("Pendulum-v1"), RandomVertex(side))
    seen, _ = env.reset(seed=3)
    moved = []
    for _ in range(60):
        right = seen[1] > 0
        seen, *_, info = env.step(np.zeros(1, np.float32))
        assert (info["executed_action"] != 0).all() == right
        moved.append(right)
    assert 0 < sum(moved) < 60


def test_refusals():
    rows = torch.zeros(2, 1)
    with pytest.raises(TypeError, match="`within` must be a ball"):
        Varying(ActionSet(2), by_row)
    with pytest.raises(TypeError, match="`within` must be a ball"):
        Masked(Varying(LinfBall(0.1), by_row), torch.tensor([True]))
    with pytest.raises(TypeError, match="`share` must be a function"):
        Varying(LinfBall(0.1), 0.5)
    for share, message in [
        (lambda clean, context: torch.ones(3), "one number per row"),
        (lambda clean, context: torch.tensor([0.5, 1.5]), r"numbers in \[0, 1\]"),
        (lambda clean, context: context["speed"], "needs 'speed' in the `context`"),
    ]:
        with pytest.raises(ValueError, match=message):
            Noise(Varying(LinfBall(0.1), share))(rows)
    with pytest.raises(TypeError, match="must be an L1Ball or L2Ball"):
        OverHorizon(LinfBall(0.1), 3)
    with pytest.raises(ValueError, match="`steps`"):
        OverHorizon(L1Ball(0.1), 0)
    with pytest.raises(ValueError, match="needs 'past_executed'"):
        Noise(OverHorizon(L1Ball(0.1), 2))(rows)
    assert OverHorizon(L1Ball(0.1), 1).at(rows, None).radius == pytest.approx(0.1)


class Arm(gymnasium.Env):
    """Two actuators, episodes of any length; nothing happens."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), 0.0, False, False, {}


def perturbations(attack, commands, resets=(0,)):
    env, found = AdversarialAction(Arm(), attack), []
    for step, command in enumerate(commands):
        if step in resets:
            env.reset(seed=step)
        found.append(env.step(np.asarray(command, float))[-1]["executed_action"] - command)
    return np.array(found)


RADII = torch.tensor([0.8, 0.4], dtype=torch.float64)


@pytest.mark.parametrize(("ball", "power"), [(L1Ball, 1), (L2Ball, 2)])
@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("kind", ["vertex", "noise", "some"])
def test_each_window_of_steps_keeps_its_budget(ball, power, greedy, kind):
    within = OverHorizon(ball(RADII), 4, greedy=greedy)
    attack = {
        "vertex": RandomVertex(within),
        "noise": Noise(within),
        "some": Mixture((0.5, RandomVertex(within)), (None, Identity())),
    }[kind]
    commands = np.random.default_rng(0).uniform(-1, 1, (26, 2))  # near the limits a part cannot be spent
    spent = (np.abs(perturbations(attack, commands, resets=(0, 10)) / RADII.numpy()) ** power).sum(1)
    windows = [spent[start : start + 4].sum() for start in (0, 4, 10, 14, 18, 22)]  # 8 and 9: an episode that was cut
    assert max(windows) <= 1 + 1e-9
    assert min(windows) > 0


def test_plans():
    """In the middle of the range everything can be spent: at once, or a quarter in each step."""
    still = np.zeros((4, 2))
    size = lambda attack: np.abs(perturbations(attack, still)).sum(1)  # noqa: E731
    np.testing.assert_allclose(size(RandomVertex(OverHorizon(L1Ball(0.8), 4))), [0.2] * 4)
    np.testing.assert_allclose(size(RandomVertex(OverHorizon(L1Ball(0.8), 4, greedy=True))), [0.8, 0, 0, 0], atol=1e-9)
    lengths = np.linalg.norm(perturbations(RandomVertex(OverHorizon(L2Ball(0.8), 4)), still), axis=1)
    np.testing.assert_allclose(lengths, [0.4] * 4)


def test_what_was_not_spent_is_there_later():
    """Nothing in the first two steps of four: half of the rest in the third, all of it in the fourth."""
    late = Gated(RandomVertex(OverHorizon(L1Ball(0.8), 4)), EveryNth(4, offset=2))
    np.testing.assert_allclose(np.abs(perturbations(late, np.zeros((8, 2)))).sum(1), [0, 0, 0.4, 0, 0, 0, 0.4, 0])
    last = Gated(RandomVertex(OverHorizon(L1Ball(0.8), 4)), EveryNth(4, offset=3))
    np.testing.assert_allclose(np.abs(perturbations(last, np.zeros((8, 2)))).sum(1), [0, 0, 0, 0.8] * 2)


def test_the_myopic_attack_is_the_worst_action_in_its_ball():
    """MAS: for a linear critic, a step of the radius against its gradient."""
    weight = torch.tensor([3.0, -4.0])
    attack = PGD(LowValue(critic=lambda obs, act: act @ weight), within=L2Ball(0.5), steps=20, step_size=2.0)
    context = {"observation": torch.zeros(1, 1)}
    worst = attack(torch.zeros(1, 2), context=context, bounds=Bounds(-1.0, 1.0))
    torch.testing.assert_close(worst, torch.tensor([[-0.3, 0.4]]))
