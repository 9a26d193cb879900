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
from advwrap.past import Past
from advwrap.randomness import Streams, entropy, fold

ACTIONS = 1 << 32
"""Added to the salt where actions are attacked."""

Rows = Tensor | np.ndarray | slice
"""Some rows or streams: a boolean mask, indices or a slice."""

_COUNTS = ("seeds", "episode", "step", "attacked")


class EpisodeClock:
    """Counts per environment row and agent, and the random streams that follow from them.

    The counts are NumPy arrays: they are read once per environment step, where an array costs a fraction of a tensor.

    Args:
        rows: Number of environments.
        salt: Distinguishes stacked wrappers, so that two of them draw different noise from one seed. Wrappers of
            actions add `ACTIONS`, so that they never repeat the noise of the observations.
        agents: Agents per environment; attacks then see rows * agents streams, agents varying fastest.

    Example:
        >>> import torch
        >>> clock = EpisodeClock(rows=2)
        >>> clock.seed([0, 1])
        >>> clock.record(torch.tensor([True, False]))
        >>> known = clock.context()
        >>> known["episode_step"].tolist(), known["attacked_steps"].tolist()
        ([1, 1], [1, 0])
    """

    def __init__(self, rows: int, *, salt: int = 0, agents: int = 1) -> None:
        check(rows >= 0, f"`rows` must be >= 0, got {rows}.")
        check(agents >= 1, f"`agents` must be >= 1, got {agents}.")
        self.rows = rows
        self.salt = salt
        self.agents = agents
        self.agent = np.tile(np.arange(agents), rows)
        self._agent_index = torch.from_numpy(self.agent)
        self._agent_count = torch.full_like(self._agent_index, agents)
        self.past: dict[str, Past] = {}
        """What the attacked channels carried, by their names, where an attack looks back."""
        self.seed(None)

    def seed(self, seeds: Sequence[int] | None) -> None:
        """Begin episode 0 with one seed per row, or with entropy of the operating system."""
        if seeds is None:
            seeds = [entropy() for _ in range(self.rows)]
        check(len(seeds) == self.rows, f"`seeds` must hold {self.rows} seeds (one per row), got {len(seeds)}.")
        self.seeds = np.array([int(seed) % 2**63 for seed in seeds], dtype=np.int64)
        self.episode = np.zeros_like(self.seeds)
        self.step, self.attacked = np.zeros_like(self.agent), np.zeros_like(self.agent)
        self.past.clear()
        self._new_keys()

    def seed_rows(self, seeds: Mapping[int, int]) -> None:
        """Begin episode 0 of some rows only, each with its seed."""
        for row, seed in seeds.items():
            self.seeds[row] = int(seed) % 2**63
            self.episode[row] = 0
            self._clear(row)
        self._new_keys()

    def start(self, rows: Rows = slice(None)) -> None:
        """Begin the next episode of these rows; of all of them by default."""
        rows = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        self.episode[rows] += 1
        self._clear(rows)
        self._new_keys()

    def streams(self, who: np.ndarray | None = None) -> Streams:
        """The streams of the coming attack call, one per row and agent, or only those of `who`."""
        if who is None:
            return self._streams.at(self.step)
        return Streams(self._streams.keys[who]).at(self.step[who])

    def context(self, who: np.ndarray | None = None) -> dict[str, Tensor]:
        """What the budgets read, int64: step of the episode, attacked steps so far, a number that no other episode has,
        agent and number of agents.
        """
        step, attacked, agent, keys = self.step, self.attacked, self._agent_index, self._streams.keys
        if who is not None:
            step, attacked, agent, keys = step[who], attacked[who], agent[who], keys[who]
        return {
            "episode_step": torch.from_numpy(step),
            "attacked_steps": torch.from_numpy(attacked),
            "episode_key": torch.from_numpy(keys),
            "agent_index": agent,
            "agent_count": self._agent_count[: len(agent)],
        }

    def record(self, attacked: Tensor | np.ndarray, acted: Tensor | np.ndarray | None = None) -> None:
        """Count one attack call.

        Args:
            attacked: Who was really perturbed, bool, shape [rows * agents].
            acted: Who took part, bool, shape [rows] or [rows * agents]; all of them by default.
        """
        perturbed = attacked.cpu().numpy() if isinstance(attacked, Tensor) else attacked
        if acted is None:
            self.step = self.step + 1
        else:
            acted = acted.cpu().numpy() if isinstance(acted, Tensor) else acted
            if len(acted) != len(self.agent):
                acted = acted.repeat(self.agents)
            self.step = self.step + acted
            perturbed = perturbed & acted
        self.attacked = self.attacked + perturbed

    def past_of(self, name: str, depth: int, clean: np.ndarray) -> Past:
        """What the channel of this name carried; from now on its last `depth` values are kept.

        Args:
            name: Of the channel.
            depth: How far its attack looks back.
            clean: Rows of it, for their shape and dtype.
        """
        past = self.past.get(name)
        if past is None or not past.fits(depth, clean.shape[1:]):
            past = self.past[name] = Past(len(self.agent), depth, clean.shape[1:], clean.dtype)
        return past

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to continue bit for bit."""
        counts = {name: torch.tensor(getattr(self, name)) for name in _COUNTS}
        past = {f"past.{name}": past.state_dict() for name, past in self.past.items()}
        return {**counts, **{f"{name}.{part}": value for name, kept in past.items() for part, value in kept.items()}}

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
        parts: dict[str, dict[str, Tensor]] = {}
        for key in state:
            if key.startswith("past."):
                name, _, part = key.removeprefix("past.").rpartition(".")
                parts.setdefault(name, {})[part] = state[key]
        self.past = {name: Past.restored(kept) for name, kept in parts.items()}
        self._new_keys()

    def _clear(self, rows: int | np.ndarray | slice) -> None:
        for name in ("step", "attacked"):
            count = getattr(self, name).reshape(self.rows, self.agents).copy()
            count[rows] = 0
            setattr(self, name, count.reshape(-1))
        for past in self.past.values():
            past.forget(np.arange(len(self.agent)).reshape(self.rows, self.agents)[rows].reshape(-1))

    def _new_keys(self) -> None:
        """Keys change with the episode only; within it, a step is a position in the stream."""
        keys = fold(fold(self.seeds, self.salt), self.episode)
        keys = keys if self.agents == 1 else keys.repeat(self.agents)
        self._streams = Streams(fold(keys, self.agent))
