"""Each episode once, from its own seed, whatever runs beside it."""

from __future__ import annotations

import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from advwrap.evaluation import NATURAL, evaluate, evaluate_grid, play
from advwrap.evaluation.schedule import Schedule


def by_hand(make: Any, agent: Any, seed: int, offset: float = 0.0) -> tuple[float, int, float]:
    """One episode with nothing of ours: return, length, cost."""
    env = make()
    observation, _ = env.reset(seed=seed)
    total, cost, steps, done = 0.0, 0.0, 0, False
    while not done:
        action = agent(torch.as_tensor(observation + offset, dtype=torch.float32)[None])[0].numpy()
        observation, reward, terminated, truncated, info = env.step(action)
        total, cost, steps, done = (
            total + reward,
            cost + info["cost"],
            steps + 1,
            terminated or truncated,
        )
    return total, steps, cost


class TestEpisodes:
    @pytest.mark.parametrize("num_envs", [1, 2, 7, 23, 100, None])
    def test_episode_i_is_the_one_of_seed_plus_i(self, countdown: Any, agent: Any, num_envs: int | None) -> None:
        cell = evaluate(agent, countdown, episodes=23, seed=5, num_envs=num_envs)
        expected = [by_hand(countdown, agent, seed) for seed in range(5, 28)]
        assert cell.seeds == tuple(range(5, 28))
        assert list(zip(cell.returns, cell.lengths, cell.costs or (), strict=True)) == expected
        assert len(set(cell.lengths)) > 3, "the lengths must differ for this test to mean anything"

    def test_short_episodes_are_not_favoured(self, countdown: Any, agent: Any) -> None:
        """The first to finish of many would be the shortest; here all of them count."""
        cell = evaluate(agent, countdown, episodes=64, num_envs=32)
        assert np.mean(cell.lengths) == np.mean([by_hand(countdown, agent, seed)[1] for seed in range(64)])

    def test_the_same_call_gives_the_same_cell(self, countdown: Any, agent: Any) -> None:
        assert evaluate(agent, countdown, episodes=5) == evaluate(agent, countdown, episodes=5)

    def test_progress_counts_every_episode_once(self, countdown: Any, agent: Any) -> None:
        counted: list[int] = []
        evaluate(agent, countdown, episodes=10, num_envs=4, advance=counted.append)
        assert sum(counted) == 10

    def test_environments_are_closed_also_after_an_error(self, countdown: Any) -> None:
        closed: list[bool] = []

        class Closing(countdown):  # type: ignore[misc]
            def close(self) -> None:
                closed.append(True)

        with pytest.raises(ZeroDivisionError):
            evaluate(lambda observation: 1 // 0, Closing, episodes=2)
        assert closed == [True, True]

    def test_gradients_are_off_and_the_global_generators_untouched(self, countdown: Any) -> None:
        def policy(observation: torch.Tensor) -> torch.Tensor:
            assert not torch.is_grad_enabled()
            return observation[:, :1]

        torch.manual_seed(0)
        before = torch.get_rng_state()
        evaluate(policy, countdown, episodes=3)
        assert torch.equal(torch.get_rng_state(), before)


class TestAttacks:
    def test_without_effect_nothing_changes(self, countdown: Any, stand_in: Any, agent: Any) -> None:
        clean = evaluate(agent, countdown, episodes=9, num_envs=4)
        attacked = evaluate(agent, countdown, lambda x: x, episodes=9, num_envs=4, channel=stand_in, name="identity")
        assert attacked.returns == clean.returns
        assert (clean.attack, attacked.attack) == (NATURAL, "identity")
        assert set(attacked.sizes) == {0.0}

    @pytest.mark.parametrize("num_envs", [1, 4])
    def test_rows_that_go_on_keep_their_perturbation(
        self, countdown: Any, stand_in: Any, agent: Any, num_envs: int
    ) -> None:
        cell = evaluate(
            agent,
            countdown,
            lambda x: x + 0.5,
            episodes=9,
            num_envs=num_envs,
            channel=stand_in,
            epsilon=0.5,
        )
        assert list(cell.returns) == [by_hand(countdown, agent, seed, 0.5)[0] for seed in range(9)]
        assert cell.sizes == pytest.approx((0.5,) * 9, abs=1e-12)
        assert (cell.attack, cell.epsilon) == ("function", 0.5)

    def test_executed_actions_count(self, countdown: Any, stand_in: Any, agent: Any) -> None:
        class OnActions(stand_in):  # type: ignore[misc]
            def reset(self, **options: Any) -> Any:
                return self.env.reset(**options)

            def step(self, actions: Any) -> Any:
                *rest, info = self.env.step(self.attack(actions))
                return *rest, info | {"action": actions, "executed_action": self.attack(actions)}

        cell = evaluate(agent, countdown, lambda a: a - 0.25, episodes=3, channel=OnActions)
        natural = evaluate(agent, countdown, episodes=3)
        assert cell.sizes == pytest.approx((0.25,) * 3)
        assert np.subtract(natural.returns, cell.returns) == pytest.approx(0.25 * np.array(cell.lengths))


class TestSpaces:
    def test_a_registered_id_with_discrete_actions(self) -> None:
        cell = evaluate(lambda x: (x[:, 2] > 0).long(), "CartPole-v1", episodes=4)
        assert cell.costs is None
        assert all(length == total for length, total in zip(cell.lengths, cell.returns, strict=True))

    def test_nested_observations(self, countdown: Any) -> None:
        def make() -> Any:
            space = gym.spaces.Dict({"state": countdown.observation_space, "copy": countdown.observation_space})
            return gym.wrappers.TransformObservation(countdown(), lambda x: {"state": x, "copy": x}, space)

        nested = evaluate(lambda x: x["state"][:, :1] + 0 * x["copy"][:, 1:], make, episodes=5, num_envs=2)
        assert nested.returns == evaluate(lambda x: x[:, :1], countdown, episodes=5).returns


class TestSchedule:
    @given(st.data(), st.integers(1, 30))
    def test_every_episode_is_finished_exactly_once(self, data: st.DataObject, episodes: int) -> None:
        schedule = Schedule(episodes=episodes, rows=data.draw(st.integers(1, episodes)))
        finished: list[int] = []
        while not schedule.over:
            flags = st.lists(st.booleans(), min_size=len(schedule.playing), max_size=len(schedule.playing))
            ended = np.array(data.draw(flags)) | (data.draw(st.integers(0, 3)) == 0)
            playing = schedule.playing[schedule.active].tolist()
            assert len(set(playing)) == len(playing)
            finished += schedule.finish(ended).tolist()
        assert sorted(finished) == list(range(episodes))


class TestGrid:
    def test_cells_curves_and_names(self, countdown: Any, stand_in: Any, agent: Any) -> None:
        made: list[tuple[Any, float]] = []

        def push(policy: Any, epsilon: float) -> Any:
            made.append((policy, epsilon))
            return lambda x: x - epsilon

        results = evaluate_grid(
            {"a": agent, "b": torch.nn.Linear(2, 1)},
            countdown,
            {"push": push, "none": lambda policy, epsilon: lambda x: x},
            [0, 0.1, 0.2],
            episodes=3,
            seed=11,
            channel=stand_in,
            command="measure it",
        )
        names = [(cell.attack, cell.epsilon) for cell in results.cells if cell.agent == "a"]
        assert names == [
            ("natural", 0.0),
            ("push", 0.1),
            ("push", 0.2),
            ("none", 0.1),
            ("none", 0.2),
        ]
        assert len(results.cells) == 10
        assert made[:2] == [(agent, 0.1), (agent, 0.2)]
        assert {cell.seeds for cell in results.cells} == {(11, 12, 13)}
        natural, weak, strong, *idle = results.cells[:5]
        assert strong.mean_return < weak.mean_return < natural.mean_return
        assert all(cell.returns == natural.returns for cell in idle)
        assert (results.provenance.env, results.provenance.seed) == ("Countdown", 11)
        assert results.provenance.command == "measure it"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"agents": {}}, "`agents` must hold at least one agent, got none."),
            ({"attacks": {"natural": None}}, "`attacks` must not use the name 'natural'"),
            ({"epsilons": [-1.0]}, "`epsilons` must be >= 0, got [-1.0]."),
            ({"epsilons": [math.nan]}, "`epsilons` must be >= 0, got [nan]."),
            ({"epsilons": [0.1, 0.1]}, "`epsilons` must all differ, got [0.1, 0.1]."),
        ],
    )
    def test_bad_grids(self, agent: Any, countdown: Any, change: dict[str, Any], message: str) -> None:
        grid: dict[str, Any] = {
            "agents": {"a": agent},
            "env": countdown,
            "attacks": {},
            "epsilons": [],
        } | change
        with pytest.raises(ValueError, match=re.escape(message)):
            evaluate_grid(**grid)


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"episodes": 0}, "`episodes` must be >= 1, got 0."),
            ({"seed": -1}, "`seed` must be >= 0, got -1."),
            ({"num_envs": 0}, "`num_envs` must be >= 1, got 0."),
            ({"policy": lambda x: x[0, :1]}, "`policy` must return actions of shape (2, 1)"),
            (
                {"policy": lambda x: x},
                "of shape (2, 1) (one per environment), got (2, 2)",
            ),
            (
                {"policy": lambda x: x[:, :1], "env": "CartPole-v1"},
                "`policy` must return actions of shape (2,)",
            ),
            (
                {"policy": lambda x: x[:, 0], "env": "CartPole-v1"},
                "`policy` must return integers for the action space",
            ),
        ],
    )
    def test_bad_arguments(self, agent: Any, countdown: Any, change: dict[str, Any], message: str) -> None:
        arguments: dict[str, Any] = {"policy": agent, "env": countdown, "episodes": 2} | change
        with pytest.raises(ValueError, match=re.escape(message)):
            evaluate(**arguments)

    def test_an_environment_instead_of_a_way_to_make_one(self, agent: Any, countdown: Any) -> None:
        with pytest.raises(TypeError, match=r"`env` must be an id, a spec or a function .* Fix: pass `lambda"):
            evaluate(agent, countdown())

    def test_an_environment_that_resets_by_itself(self, agent: Any, countdown: Any) -> None:
        envs = SyncVectorEnv([countdown], autoreset_mode=AutoresetMode.SAME_STEP)
        with pytest.raises(ValueError, match=r"`envs` must not reset by itself, .* Fix: make it with"):
            play(agent, envs, episodes=1, advance=lambda units: None)
