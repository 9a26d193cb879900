"""The clock of an attacked environment: which seed, which episode, which step, how many steps already attacked.

Every wrapper and transform owns one. The randomness of an attack call is a pure function of *(seed, episode, step,
agent)*, so that Gymnasium, vector, PettingZoo and TorchRL environments give the same perturbations for one seed, and
the budgets (`AtMost`, `EveryNth`, ...) read their counts from here instead of keeping state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.randomness import Streams, entropy, fold

_COUNTS = ("seeds", "episode", "step", "attacked")


class EpisodeClock:
    """Counts per environment row, and the random streams that follow from them.

    The counts are NumPy arrays: they are read once per environment step, where an array costs a fraction of a tensor.

    Args:
        rows: Number of environments.
        salt: Distinguishes stacked wrappers, so that two of them draw different noise from one seed.
        agents: Agents per environment; attacks then see rows * agents rows, agents varying fastest.

    Example:
        >>> clock = EpisodeClock(rows=2)
        >>> clock.seed([0, 1])
        >>> clock.record(torch.tensor([True, False]))
        >>> {name: count.tolist() for name, count in clock.context().items()}
        {'episode_step': [1, 1], 'attacked_steps': [1, 0], 'agent_index': [0, 0]}
    """

    def __init__(self, rows: int, *, salt: int = 0, agents: int = 1) -> None:
        check(rows >= 0, f"`rows` must be >= 0, got {rows}.")
        check(agents >= 1, f"`agents` must be >= 1, got {agents}.")
        self.rows = rows
        self.salt = salt
        self.agents = agents
        self.agent = np.tile(np.arange(agents), rows)
        self.seed(None)

    def seed(self, seeds: Sequence[int] | None) -> None:
        """Begin episode 0 with one seed per row, or with entropy of the operating system."""
        if seeds is None:
            seeds = [entropy() for _ in range(self.rows)]
        check(len(seeds) == self.rows, f"`seeds` must hold {self.rows} seeds (one per row), got {len(seeds)}.")
        self.seeds = np.array([int(seed) % 2**63 for seed in seeds], dtype=np.int64)
        self.episode, self.step = np.zeros_like(self.seeds), np.zeros_like(self.seeds)
        self.attacked = np.zeros_like(self.agent)
        self._new_keys()

    def seed_rows(self, seeds: Mapping[int, int]) -> None:
        """Begin episode 0 of some rows only, each with its seed."""
        for row, seed in seeds.items():
            self.seeds[row] = int(seed) % 2**63
            self.episode[row] = self.step[row] = 0
            self.attacked.reshape(self.rows, self.agents)[row] = 0
        self._new_keys()

    def start(self, rows: Tensor | np.ndarray | slice = slice(None)) -> None:
        """Begin the next episode of these rows (a boolean mask, indices or a slice; all of them by default)."""
        rows = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        self.episode[rows] += 1
        self.step[rows] = 0
        self.attacked.reshape(self.rows, self.agents)[rows] = 0
        self._new_keys()

    def streams(self) -> Streams:
        """The streams of the coming attack call, one per row and agent."""
        return self._episode_streams.at(self._per_agent(self.step))

    def context(self) -> dict[str, Tensor]:
        """What the budgets read: the step of the episode, the attacked steps so far and the agent, int64."""
        return {
            "episode_step": torch.from_numpy(self._per_agent(self.step)),
            "attacked_steps": torch.from_numpy(self.attacked),
            "agent_index": torch.from_numpy(self.agent),
        }

    def record(self, attacked: Tensor, acted: Tensor | np.ndarray | None = None) -> None:
        """Count one attack call.

        Args:
            attacked: Who was really perturbed, bool, shape [rows * agents].
            acted: Which rows took part, bool, shape [rows]; all of them by default.
        """
        perturbed = attacked.cpu().numpy()
        if acted is None:
            self.step = self.step + 1
            self.attacked = self.attacked + perturbed
        else:
            acted = acted.cpu().numpy() if isinstance(acted, Tensor) else acted
            self.step = self.step + acted
            self.attacked = self.attacked + (perturbed & self._per_agent(acted))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to continue bit for bit."""
        return {name: torch.tensor(getattr(self, name)) for name in _COUNTS}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`.

        Raises:
            ValueError: If a count is missing or has another number of rows.
        """
        for name in _COUNTS:
            mine = getattr(self, name)
            check(name in state, f"`state` must hold {name!r}, got {sorted(state)}.")
            check(
                tuple(state[name].shape) == mine.shape,
                f"`state[{name!r}]` must have shape {mine.shape}, got {tuple(state[name].shape)}.",
                fix="load into an environment with as many rows and agents as the saved one.",
            )
        for name in _COUNTS:
            setattr(self, name, state[name].cpu().numpy().copy())
        self._new_keys()

    def _new_keys(self) -> None:
        """Keys change with the episode only; within it, a step is a position in the stream."""
        keys = fold(fold(self.seeds, self.salt), self.episode)
        self._episode_streams = Streams(fold(self._per_agent(keys), self.agent))

    def _per_agent(self, count: np.ndarray) -> np.ndarray:
        return count if self.agents == 1 else count.repeat(self.agents)
