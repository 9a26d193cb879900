"""Suites, the cells they keep, and several seeds of one method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import SoftUpdate

from advwrap import (
    PGD,
    After,
    Bias,
    Bounds,
    Delay,
    Dropout,
    Gain,
    Gated,
    Identity,
    LinfBall,
    LowValue,
    Noise,
    Quantised,
    Saturated,
    Stuck,
    WithProbability,
)
from advwrap.algorithms import PPO, SAC
from advwrap.evaluation import (
    ActionSuite,
    Cell,
    FaultSuite,
    GameSuite,
    ObservationSuite,
    Provenance,
    Results,
    action_makers,
    evaluate_suite,
    markdown,
)
from advwrap.evaluation import attack_makers as module
from advwrap.evaluation import measure as measuring
from advwrap.evaluation.action_makers import LowestAction, LowestRobustAction, action_ball, played_in_ball
from advwrap.evaluation.attack_makers import AttackMaker, LowestValue, RobustSarsaScan, Uniform, return_std
from advwrap.evaluation.fault_makers import ANY_ACTION, FAULTS, Fault
from advwrap.evaluation.learned_action import ADVERSARIES, LearnedAction
from advwrap.evaluation.seeds import has_seeds, median_seed, methods, over_seeds
from advwrap.evaluation.suites import GradientSuite
from advwrap.losses import RobustCriticLoss, RobustCriticTraining, RobustSarsa, SarsaTraining, ShuffledSarsa
from advwrap.training import KINDS, Normaliser, TrainedAgent
from advwrap.victims.tensordict_critic import LossCritic
from advwrap.wrappers import ActionAdversary, AdversarialAction, NoisyAdversary, ProbabilisticAdversary


def agent(kind: str = "gaussian", *, env: str = "Pendulum-v1", seed: int = 0, features: int = 3) -> TrainedAgent:
    """An agent with random weights."""
    torch.manual_seed(seed)
    actions = 2 if kind == "categorical" else 1
    limit = torch.ones(actions)
    networks = KINDS[kind].actor(features, actions, (8,)), *(KINDS[kind].critic(features, actions, (8,)) for _ in "12")
    actor, *critics = (network.requires_grad_(False) for network in networks)
    normaliser = Normaliser(np.zeros(features), np.ones(features))
    return TrainedAgent(env, actor, tuple(critics), normaliser, -limit, limit, {"policy": kind})


SHORT = ObservationSuite(
    ppo=(PPO(steps=64, envs=2, horizon=32, epochs=1, minibatches=2, hidden=(8,)),),
    sac=(SAC("", steps=40, random_steps=20, batch_size=8, hidden=(8,)),),
    sarsa=RobustSarsaScan(
        SarsaTraining(iterations=3, epochs=1, minibatches=4, hidden=(8,)), eps=(0.1,), reg=(0.3, 1.0), selection=1
    ),
    selection=1,
)


@dataclass
class Counting:
    """One attack whose making is counted."""

    made: list[str]
    strength: float = 1.0

    def attacks(self, agent: TrainedAgent) -> Mapping[str, AttackMaker]:
        return {"noise": self}

    def __call__(self, agent: TrainedAgent, epsilon: float) -> Noise:
        self.made.append(agent.env)
        return Noise(LinfBall(epsilon * self.strength))

    def __repr__(self) -> str:
        return f"Counting({self.strength})"


@pytest.mark.slow
def test_every_column_attacks_within_its_radius() -> None:
    results = evaluate_suite({"a": agent()}, SHORT, [0.3], episodes=2)
    columns = ("uniform", "MAD", "PGD", "PGD x4", "RS", "SA-RL (SAC)", "PA-AD (SAC)", "SA-RL (PPO)", "PA-AD (PPO)")
    assert results.attacks == columns
    for column in columns:
        cell = results.find("a", column, 0.3)
        assert cell is not None
        assert 0 < min(cell.sizes) <= max(cell.sizes) <= 0.3 + 1e-6, column


@pytest.mark.parametrize("kind", KINDS)
def test_the_usual_suite_attacks_every_kind_of_agent(kind: str) -> None:
    one = agent(kind, env="CartPole-v1", features=4) if kind == "categorical" else agent(kind)
    results = evaluate_suite({"a": one}, GradientSuite(), [0.3], episodes=1)
    for cell in results.cells[1:]:
        assert 0.2 < max(cell.sizes) <= 0.3 + 1e-6, cell.attack


def test_discrete_agents_have_no_robust_sarsa_column() -> None:
    discrete = agent("categorical", env="CartPole-v1", features=4)
    assert "RS" not in SHORT.attacks(discrete)
    results = evaluate_suite({"a": discrete}, ObservationSuite(learned=()), [0.1], episodes=1)
    assert results.attacks == ("uniform", "MAD", "PGD", "PGD x4")


def test_more_starts_never_leave_a_higher_value() -> None:
    """The column "PGD x4": of four starts it keeps, row by row, the lowest value of all iterates."""
    one, observation = agent(), torch.randn(64, 3)
    first = LowestValue()(one, 0.5)(observation, generator=torch.Generator().manual_seed(0))
    column = SHORT.attacks(one)["PGD x4"](one, 0.5)(observation, generator=torch.Generator().manual_seed(0))
    badness = [one.low_value(observation)(seen) for seen in (first, column)]
    assert bool((badness[1] >= badness[0] - 1e-6).all())
    assert bool((badness[1] > badness[0] + 1e-6).any())


def test_the_strongest_of_several_critics_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Robust Sarsa: of both kinds, the critic of the scan under which the agent returns least."""
    torch.manual_seed(0)
    critics = {kind: {(0.1, reg): nn.Linear(4, 1) for reg in (0.3, 1.0, 3.0)} for kind in (RobustSarsa, ShuffledSarsa)}
    monkeypatch.setattr(module, "scan_robust_sarsa", lambda *_, kind, **__: critics[kind])
    returns = iter([5.0, 4.0, 3.0, 6.0, 1.0, 2.0])
    monkeypatch.setattr(module, "mean_return", lambda agent, attack, episodes: next(returns))
    one = agent()
    found = SHORT.sarsa(one, 0.1)
    observation, context = torch.randn(4, 3), None
    expected = PGD(
        LowValue(one.policy, critics[ShuffledSarsa][0.1, 1.0]),
        within=LinfBall(0.1),
        steps=10,
        step_size=0.1,
        random_start=0.1,
    )
    streams = [torch.Generator().manual_seed(0) for _ in "12"]
    pair = [a(observation, context=context, generator=g) for a, g in zip((found, expected), streams, strict=True)]
    assert torch.equal(*pair)


def test_cells_that_are_done_are_not_measured_again(tmp_path: Path) -> None:
    made: list[str] = []

    def measure(**changes: object) -> Results:
        arguments: dict = {"agents": {"a": agent()}, "suite": Counting(made), "epsilons": [0.1], "episodes": 2}
        return evaluate_suite(**{**arguments, "keep": tmp_path, **changes})

    first = measure()
    assert made == ["Pendulum-v1"]
    assert measure().cells == first.cells
    renamed = measure(agents={"b": agent()})
    assert [cell.returns for cell in renamed.cells] == [cell.returns for cell in first.cells]
    assert {cell.agent for cell in renamed.cells} == {"b"}
    assert len(made) == 1
    others: list[dict] = [
        {"agents": {"a": agent(seed=1)}},
        {"epsilons": [0.2]},
        {"episodes": 3},
        {"seed": 5},
        {"suite": Counting(made, 0.5)},
    ]
    for count, changes in enumerate(others, start=2):
        measure(**changes)
        assert len(made) == count, changes


def test_code_that_may_change_a_number_makes_cells_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit does not: a word in the documentation changes nothing, and what is not committed may."""
    made: list[str] = []

    def measure() -> Results:
        return evaluate_suite({"a": agent()}, Counting(made), [0.1], episodes=1, keep=tmp_path)

    first, here = measure(), measuring.Provenance.here
    monkeypatch.setattr(measuring.Provenance, "here", lambda *a, **k: replace(here(*a, **k), commit="another"))
    again = measure()
    assert (again.cells, again.provenance.commit, len(made)) == (first.cells, "another", 1)
    monkeypatch.setattr(measuring, "code_digest", lambda: "other code")
    measure()
    assert len(made) == 2


def test_processes_change_nothing() -> None:
    agents = {"a": agent("categorical", env="CartPole-v1", features=4)}
    suite = ObservationSuite(learned=())
    alone = evaluate_suite(agents, suite, [0.1], episodes=1)
    assert evaluate_suite(agents, suite, [0.1], episodes=1, workers=2).cells == alone.cells


def test_torch_computes_in_one_thread_meanwhile() -> None:
    seen: list[int] = []

    class Threads(Counting):
        def __call__(self, agent: TrainedAgent, epsilon: float) -> Noise:
            seen.append(torch.get_num_threads())
            return super().__call__(agent, epsilon)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        evaluate_suite({"a": agent()}, Threads([]), [0.1], episodes=1)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agents": {}}, "at least one agent"),
        ({"agents": {"a": agent(), "b": agent(env="Other-v0")}}, "one task"),
        ({"epsilons": [0.1, 0.1]}, "differ"),
        ({"epsilons": [0.0]}, "> 0"),
        ({"workers": 0}, "`workers`"),
    ],
)
def test_bad_arguments(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate_suite(**{"agents": {"a": agent()}, "suite": GradientSuite(), "epsilons": [0.1], **changes})


def cells(scores: Mapping[str, tuple[float, float]]) -> Results:
    """Agents with a natural return and one under noise."""

    def both(name: str, natural: float, noise: float) -> tuple[Cell, ...]:
        one: Callable[..., Cell] = lambda attack, eps, x: Cell(name, attack, eps, (0, 1), (x, x), (5, 5), (eps, eps))  # noqa: E731
        return one("natural", 0.0, natural), one("noise", 0.1, noise)

    return Results(tuple(cell for name, pair in scores.items() for cell in both(name, *pair)), Provenance("Task-v0"))


SEEDS = {"sac/seed-0": (9.0, 1.0), "sac/seed-1": (8.0, 5.0), "sac/seed-2": (7.0, 3.0), "td3": (6.0, 2.0)}


def test_methods_and_their_median_seed() -> None:
    results = cells(SEEDS)
    assert has_seeds(results)
    assert {method: len(names) for method, names in methods(results).items()} == {"sac": 3, "td3": 1}
    median = median_seed(results, 0.1)
    assert [(cell.agent, cell.attack, cell.returns[0]) for cell in median.cells] == [
        ("sac", "natural", 7.0),
        ("sac", "noise", 3.0),
        ("td3", "natural", 6.0),
        ("td3", "noise", 2.0),
    ]


def test_of_two_seeds_the_weaker_is_the_median() -> None:
    two = cells({name: SEEDS[name] for name in ("sac/seed-0", "sac/seed-1")})
    assert median_seed(two, 0.1).find("sac", "noise", 0.1).mean_return == 1.0  # type: ignore[union-attr]


def test_means_over_seeds_take_the_worst_of_every_seed() -> None:
    mixed = cells({"m/seed-0": (9.0, 1.0), "m/seed-1": (9.0, 5.0)})
    other = [Cell(f"m/seed-{i}", "pgd", 0.1, (0, 1), (x, x), (5, 5), (0.1, 0.1)) for i, x in enumerate((4.0, 2.0))]
    table = over_seeds(Results((*mixed.cells, *other), Provenance("Task-v0")), 0.1)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["seeds"] == "2"
    assert row["natural"] == "9.000 [9.000, 9.000]"
    assert row["noise"].startswith("3.000 [1.000, 5.000]")
    assert row["worst"].startswith("1.500 [1.000, 2.000]")


def test_a_report_of_several_seeds_has_their_tables() -> None:
    text = markdown(cells(SEEDS))
    assert "## Mean over seeds at epsilon 0.1" in text
    assert "## Median seed at epsilon 0.1" in text
    assert "over seeds" not in markdown(cells({"td3": (6.0, 2.0)}))


def test_identity_is_no_attacker() -> None:
    """The natural row is the row of an attack that does nothing, to the bit."""
    from advwrap.evaluation import evaluate

    one = agent()
    natural = evaluate_suite({"a": one}, Counting([]), [0.1], episodes=2).natural("a")
    idle = evaluate(one.act, one.make_env, Identity(), episodes=2)
    assert natural is not None
    assert natural.returns == idle.returns


class Steady(gym.Env[np.ndarray, np.ndarray]):
    """Observations are noise, some of which is in the reward: 1 - a^2."""

    ID = "advwrap-tests/Steady-v0"
    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.now = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.now, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float(0.1 * self.now[0] + 1 - action[0] ** 2)
        self.now = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.now, reward, False, False, {}


gym.register(Steady.ID, entry_point=Steady, max_episode_steps=20)


class TestActions:
    FITTED = RobustCriticTraining(batches=1, updates=3, batch_size=8, hidden=(8,))
    SAC_FOR_A_MOMENT = (SAC("", steps=40, random_steps=20, batch_size=8, hidden=(8,)),)
    SHORT = ActionSuite(
        sac=SAC_FOR_A_MOMENT, nominal=LowestAction(FITTED), robust=LowestRobustAction(FITTED), selection=1
    )
    GAMES = GameSuite(sac=SAC_FOR_A_MOMENT, selection=1)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["gaussian", "free-scale"])
    def test_every_column_moves_the_executed_action_within_its_radius(self, kind: str) -> None:
        """Actions of [-1, 1] here, so the unit is 1."""
        results = evaluate_suite({"a": agent(kind)}, self.SHORT, [0.3], episodes=2)
        assert results.attacks == ("random", "random vertex", "Min-Q", "Min-OA-Q", "push (SAC)")
        for column in results.attacks:
            cell = results.find("a", column, 0.3)
            assert cell is not None
            assert min(cell.sizes) > 0, column
            assert max(cell.sizes) <= 0.3 + 1e-6, column

    @pytest.mark.parametrize("kind", ["gaussian", "free-scale"])
    def test_robust_agents_are_attacked_with_their_own_robust_critics(self, kind: str) -> None:
        """Nowhere in the ball is a lower value than at the executed action, on a grid."""
        plain = agent(kind)
        torch.manual_seed(5)
        one = replace(plain, robust_critics=tuple(KINDS[kind].of_actions.critic(3, 1, (8,)) for _ in "12"))
        assert "own Min-OA-Q" not in self.SHORT.attacks(plain)
        attack = self.SHORT.attacks(one)["own Min-OA-Q"](one, 0.3)
        observation, generator = torch.randn(32, 3), torch.Generator().manual_seed(0)
        intended, bounds = one.act(observation), Bounds(one.low, one.high)
        with torch.no_grad():
            executed = attack(intended, context={"observation": observation}, bounds=bounds, generator=generator)
            least = one.robust_critic(observation, executed).amin(0)
            for share in torch.linspace(-1, 1, 21):
                other = (intended + 0.3 * share).clamp(one.low, one.high)
                assert bool((one.robust_critic(observation, other).amin(0) >= least - 1e-3).all())
        assert bool((executed != intended).any())

    @pytest.mark.slow
    def test_games_may_leave_the_ball(self) -> None:
        results = evaluate_suite({"a": agent()}, self.GAMES, [0.3], episodes=2)
        assert results.attacks == ("noisy (SAC)", "probabilistic (SAC)")
        assert all(0 < max(cell.sizes) <= 2 for cell in results.cells if cell.attack != "natural")

    @pytest.mark.slow
    def test_every_fault_has_a_column(self) -> None:
        results = evaluate_suite({"a": agent()}, FaultSuite(), [0.9], episodes=1)
        assert results.attacks == tuple(FAULTS)
        assert all(cell.sizes[0] > 0 for cell in results.cells if cell.attack != "natural")

    def test_what_is_searched_is_what_it_says(self) -> None:
        """Min-Q: nowhere in the ball is a lower value than at the executed action, on a grid."""
        one, observation = agent(), torch.randn(32, 3)
        intended = one.act(observation)
        attack = LowestAction()(one, 0.3)
        bounds = Bounds(one.low, one.high)
        generator = torch.Generator().manual_seed(0)
        executed = attack(intended, context={"observation": observation}, bounds=bounds, generator=generator)
        least = one.critic(observation, executed).amin(0)
        for share in torch.linspace(-1, 1, 21):
            other = (intended + 0.3 * share).clamp(one.low, one.high)
            assert bool((one.critic(observation, other).amin(0) >= least - 1e-3).all())

    def test_where_the_critics_value_observations_others_are_fitted(self) -> None:
        """Reward 1 - a^2, whatever the state: an agent that plays 0 is brought to an end of the ball."""
        one = agent("free-scale", env=Steady.ID, features=1)
        for weight in one.actor.parameters():
            weight.zero_()
        training = RobustCriticTraining(updates=400, learning_rate=1e-2, gamma=0.0, hidden=(16,))
        attack = LowestAction(training)(one, 0.5)
        observation, generator = torch.zeros(16, 1), torch.Generator().manual_seed(0)
        executed = attack(
            one.act(observation),
            context={"observation": observation},
            bounds=Bounds(one.low, one.high),
            generator=generator,
        )
        assert torch.allclose(executed.abs(), torch.full_like(executed, 0.5), atol=0.02)

    def test_critics_are_fitted_in_units_of_the_return(self) -> None:
        """So that one learning rate serves every task; Pendulum's rewards add up to hundreds."""
        one = agent()
        scaled = next(played_in_ball(one, 0.3))["next", "reward"]
        assert return_std(one) > 20
        assert float(scaled.min() * return_std(one)) == pytest.approx(-16.2, abs=2.0)

    @pytest.mark.parametrize(
        ("maker", "expected"), [(LowestAction(), 0.0), (LowestRobustAction(), -0.5)], ids=["Min-Q", "Min-OA-Q"]
    )
    def test_which_adversary_fitted_critics_expect(
        self, maker: AttackMaker, expected: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """None for Min-Q, the worst action of the ball for Min-OA-Q. Of [-1, 3] the radius is 0.5; Q(s, a) = a."""
        fits: list[tuple[TensorDict, RobustCriticLoss]] = []

        def fit(batches: Iterator[TensorDict], policy: object, *, training: object, **options: Any) -> LossCritic:
            value = ValueOperator(MLP(4, 1, depth=0), in_keys=["observation", "action"])
            value.module[0].weight.data.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
            loss = RobustCriticLoss(None, value, next_action=lambda _: torch.zeros(16, 1), **options)
            SoftUpdate(loss, tau=0.5)
            fits.append((next(batches), loss))
            return LossCritic(loss)

        monkeypatch.setattr(action_makers, "fit_robust_critic", fit)
        one = replace(agent("free-scale"), low=torch.tensor([-1.0]), high=torch.tensor([3.0]))
        attack = maker(one, 0.25)
        ((played, loss),) = fits
        box = loss.bounds.low, loss.bounds.high, loss.within.radius
        assert [float(size) for size in box] == [-1.0, 3.0, 0.5]
        intended, generator = torch.zeros(16, 1), torch.Generator().manual_seed(0)
        asked = {"context": {"observation": torch.zeros(16, 3)}, "bounds": loss.bounds, "generator": generator}
        torch.testing.assert_close(loss.target_attack(intended, **asked), torch.full((16, 1), expected))
        torch.testing.assert_close(attack(intended, **asked), torch.full((16, 1), -0.5))
        moved = (played["action"] - one.act(played["observation"])).abs()
        assert 0.45 < float(moved.max()) <= 0.5 + 1e-6

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: LearnedAction("chess", ()), "`game` must be one of push"),
            (lambda: Fault("rust"), "`name` must be one of delay"),
            (lambda: ActionSuite(learned=("noisy",)), "`learned` must be among push, got noisy"),
            (lambda: GameSuite(("chess",)), "`games` must be among push"),
            (lambda: GameSuite().attacks(agent("categorical", env="CartPole-v1", features=4)), "continuous actions"),
            (lambda: FaultSuite(["rust"]), "`faults` must be among delay"),
            (lambda: Fault("gain")(agent(), 1.5), "`epsilon` must be in"),
        ],
    )
    def test_unknown_names(self, make: Callable[[], object], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            make()

    def test_discrete_actions_are_replaced(self) -> None:
        one = agent("categorical", env="CartPole-v1", features=4)
        columns = self.SHORT.attacks(one)
        assert list(columns) == ["random", "second best", "Min-Q"]
        assert list(FaultSuite().attacks(one)) == list(ANY_ACTION)
        observation = torch.randn(400, 4)
        intended = one.act(observation)
        values = torch.stack([one.critic(observation, torch.full((400,), a)).amin(0) for a in range(2)])
        context, generator = {"observation": observation}, torch.Generator().manual_seed(0)
        other = 0.3 * float((values.argmin(0) != intended).float().mean())  # of two the second best is the worst
        for column, share in (("random", 0.15), ("second best", other), ("Min-Q", other)):
            executed = columns[column](one, 0.3)(intended, context=context, generator=generator)
            moved = executed != intended
            assert float(moved.float().mean()) == pytest.approx(share, abs=0.07)
            assert column == "random" or torch.equal(executed[moved], values.argmin(0)[moved])

    @pytest.mark.slow
    def test_discrete_agents_are_evaluated(self) -> None:
        one = agent("categorical", env="CartPole-v1", features=4)
        for suite in (self.SHORT, FaultSuite()):
            results = evaluate_suite({"a": one}, suite, [0.3], episodes=2)
            assert len(results.attacks) == len(suite.attacks(one))

    def test_what_a_learned_adversary_commands(self) -> None:
        """The radius is its share of the actions or of the steps; where it pushes it is that of the ball."""
        assert {name: make(0.3) for name, make in ADVERSARIES.items()} == {
            "push": ActionAdversary(),
            "noisy": NoisyAdversary(0.3),
            "probabilistic": ProbabilisticAdversary(0.3),
        }

    def test_how_severe_a_fault_is(self) -> None:
        expected = {
            "delay": Delay(1),
            "sticky": Gated(Stuck(), WithProbability(0.25)),
            "dropout": Dropout(0.25),
            "stuck": Gated(Stuck(features=[0]), After(100)),
            "gain": Gain(0.75),
            "bias": Bias(0.25),
            "quantised": Quantised(5),
            "saturated": Saturated(0.75),
        }
        # What is gated equals nothing but itself.
        found = {name: repr(Fault(name)(agent(), 0.25)) for name in FAULTS}
        assert found == {name: repr(fault) for name, fault in expected.items()}

    def test_the_unit_is_half_the_range_of_each_action(self) -> None:
        low, high = torch.tensor([-1.0, 0.0]), torch.tensor([3.0, 1.0])
        ball = action_ball(replace(agent(), low=low, high=high), 0.25)
        torch.testing.assert_close(ball.radius, torch.tensor([0.5, 0.125]))

    @pytest.mark.parametrize("epsilon", [0.1, 0.3, 0.4, 0.9])
    def test_rounding_errs_by_the_radius_at_most(self, epsilon: float) -> None:
        clean = torch.linspace(-1, 1, 1001).unsqueeze(1)
        seen = Fault("quantised")(agent(), epsilon)(clean, bounds=Bounds(-1.0, 1.0))
        assert float((seen - clean).abs().max()) <= epsilon + 1e-6


def test_the_same_attack_on_another_channel_is_another_cell(tmp_path: Path) -> None:
    class Obs:
        def attacks(self, agent: TrainedAgent) -> Mapping[str, AttackMaker]:
            return {"noise": Uniform()}

    class Act(Obs):
        channel = staticmethod(AdversarialAction)

    measured = [
        evaluate_suite({"a": agent()}, suite, [0.3], episodes=1, keep=tmp_path).find("a", "noise", 0.3)
        for suite in (Obs(), Act())
    ]
    assert measured[0] != measured[1]
    assert len(list(tmp_path.glob("*.json"))) == 3  # of the natural cell one, which has no attack
