"""What one row or agent lived through, told alike for every framework, so that one rule serves all of them.

Every player does the same: a reset with the seed, then the commands one by one, and a reset wherever an episode ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from advwrap.wrappers.entry import copied

Commands = Sequence[Sequence[Any]]
"""For each row or agent the actions that it chooses, one after the other."""


@dataclass
class Step:
    """What an environment returned to one row or agent; a reset has no action and no reward.

    Args:
        action: What the agent chose.
        aside: Whether the observation was told beside the others, as ``final_obs`` of a vector environment.
    """

    observation: Any
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    action: Any = None
    aside: bool = False

    def told(self, name: str) -> Any:
        """An entry of the info."""
        assert name in self.info, f"info[{name!r}] must be there at every step, got {sorted(self.info)}."
        return self.info[name]

    def outcome(self) -> tuple[float, bool, bool]:
        """The reward and the ends."""
        return self.reward, self.terminated, self.truncated


@dataclass
class History:
    """Some episodes of one row or agent: copies of everything it got, a reset and the steps, again and again.

    Args:
        who: Its name in messages.
    """

    who: str
    steps: list[Step] = field(default_factory=list)

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Tell of a reset."""
        self.steps.append(Step(copied(observation), info=copied(dict(info))))

    def add(self, action: Any, result: tuple[Any, Any, Any, Any, Mapping[str, Any]], *, aside: bool = False) -> None:
        """Tell of a step."""
        observation, reward, terminated, truncated, info = result
        outcome = float(reward), bool(terminated), bool(truncated)
        self.steps.append(Step(copied(observation), *outcome, copied(dict(info)), copied(action), aside))

    @property
    def taken(self) -> list[Step]:
        """The steps without the resets."""
        return [step for step in self.steps if step.action is not None]

    @property
    def episodes(self) -> list[list[Step]]:
        """The steps, each episode with its reset."""
        starts = [i for i, step in enumerate(self.steps) if step.action is None]
        return [self.steps[i:j] for i, j in zip(starts, [*starts[1:], None], strict=True)]

    @property
    def over(self) -> bool:
        """Whether the last episode has ended."""
        return self.steps[-1].terminated or self.steps[-1].truncated


def alone(env: gym.Env[Any, Any], commands: Commands, seed: int | None) -> list[History]:
    """A Gymnasium environment.

    Example:
        >>> from advwrap.testing.environments import SignalEnv
        >>> [history] = alone(SignalEnv(horizon=2), [[np.zeros(2)] * 3], 0)
        >>> [len(episode) for episode in history.episodes]
        [3, 2]
    """
    history = History("the environment")
    history.begin(*env.reset(seed=seed))
    for action in commands[0]:
        if history.over:
            history.begin(*env.reset())
        history.add(action, env.step(copied(action)))
    return [history]


def in_rows(env: VectorEnv[Any, Any, Any], commands: Commands, seed: int | None) -> list[History]:
    """The rows of a vector environment, in its own autoreset mode."""
    mode = AutoresetMode(env.metadata["autoreset_mode"])
    histories = [History(f"row {i} ({mode.name})") for i in range(env.num_envs)]
    queues = [iter(own) for own in commands]
    observations, infos = env.reset(seed=seed)
    for i, (history, row) in enumerate(zip(histories, _rows(env, observations), strict=True)):
        history.begin(row, _info(infos, i))
    over = np.zeros(env.num_envs, np.bool_)
    for _ in commands[0]:
        if mode is AutoresetMode.DISABLED and over.any():
            observations, infos = env.reset(options={"reset_mask": over.copy()})
            rows = _rows(env, observations)
            for i in map(int, over.nonzero()[0]):
                histories[i].begin(rows[i], _info(infos, i))
        resetting = over & (mode is AutoresetMode.NEXT_STEP)
        # The action of a row that only resets is ignored: any will do.
        given = [
            own[0] if resets else next(queue) for own, queue, resets in zip(commands, queues, resetting, strict=True)
        ]
        observations, rewards, terminations, truncations, infos = env.step(np.stack(given))
        over = np.asarray(terminations) | np.asarray(truncations)
        for i, (history, row) in enumerate(zip(histories, _rows(env, observations), strict=True)):
            info = _info(infos, i)
            result = row, rewards[i], terminations[i], truncations[i], info
            if resetting[i]:
                history.begin(row, info)
            elif over[i] and mode is AutoresetMode.SAME_STEP:
                last = {**info, **info["final_info"]}
                history.add(given[i], (info["final_obs"], *result[1:4], last), aside=True)
                history.begin(row, info)
            else:
                history.add(given[i], result)
    return histories


def together(env: Any, commands: Commands, seed: int | None) -> list[History]:
    """The agents of a PettingZoo parallel environment, in the order of ``possible_agents``."""
    histories = {agent: History(repr(agent)) for agent in env.possible_agents}
    queues = {agent: iter(own) for agent, own in zip(histories, commands, strict=True)}
    _begin_all(histories, *env.reset(seed=seed))
    for _ in commands[0]:
        if not env.agents:
            _begin_all(histories, *env.reset())
        given = {agent: next(queues[agent]) for agent in env.agents}
        results = env.step(copied(given))
        for agent, action in given.items():
            histories[agent].add(action, tuple(result[agent] for result in results))
    return [*histories.values()]


def in_turns(env: Any, commands: Commands, seed: int | None) -> list[History]:
    """The agents of a PettingZoo AEC environment, until the first of them has no command left."""
    histories = {agent: History(repr(agent)) for agent in env.possible_agents}
    queues = {agent: [*own] for agent, own in zip(histories, commands, strict=True)}
    waiting: dict[Any, Any] = {}
    env.reset(seed=seed)
    while True:
        if not env.agents:
            env.reset()
        agent = env.agent_selection
        result = env.last()
        if agent in waiting:
            histories[agent].add(waiting.pop(agent), result)
        else:
            histories[agent].begin(result[0], result[4])
        if result[2] or result[3]:
            env.step(None)
            continue
        if not queues[agent]:
            break
        waiting[agent] = queues[agent].pop(0)
        env.step(copied(waiting[agent]))
    for agent, action in waiting.items():  # whose turn would come
        ends = env.terminations[agent], env.truncations[agent]
        histories[agent].add(action, (env.observe(agent), env.rewards[agent], *ends, env.infos[agent]))
    return [*histories.values()]


def same_history(one: History, other: History) -> bool:
    """Whether two histories are equal, infos included.

    Example:
        >>> from advwrap.testing.environments import SignalEnv
        >>> commands = [[np.ones(2)] * 3]
        >>> [first], [second] = alone(SignalEnv(), commands, 0), alone(SignalEnv(), commands, 1)
        >>> same_history(first, first), same_history(first, second)
        (True, False)
    """
    return len(one.steps) == len(other.steps) and all(
        data_equivalence(a.observation, b.observation, exact=True)
        and a.outcome() == b.outcome()
        and data_equivalence(a.info, b.info, exact=True)
        for a, b in zip(one.steps, other.steps, strict=True)
    )


def _rows(env: VectorEnv[Any, Any, Any], observations: Any) -> list[Any]:
    return [*iterate(env.observation_space, observations)]


def _info(infos: Mapping[str, Any], row: int) -> dict[str, Any]:
    """The entries that hold for a row: those whose mask says so."""
    own = {}
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        if mask is not None and mask[row]:
            own[name] = _info(values, row) if isinstance(values, dict) else values[row]
    return own


def _begin_all(histories: Mapping[Any, History], observations: Mapping[Any, Any], infos: Mapping[Any, Any]) -> None:
    for agent, observation in observations.items():
        histories[agent].begin(observation, infos[agent])
