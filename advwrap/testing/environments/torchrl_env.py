"""The signal as a TorchRL environment."""

from __future__ import annotations

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from advwrap.testing.environments.signal import ACTIONS, FEATURES, Signal


class SignalTorchRLEnv(EnvBase):  # type: ignore[misc]
    """The rows of `signal_vector` in TorchRL: `set_seed(s)` gives row i the seed s + i.

    Args:
        rows: Batch size; None for an environment without a batch axis.
        horizon: Steps until the episode ends.
        discrete: Number of discrete actions; 0 for 2 actions in [-1, 1].

    Example:
        >>> env = SignalTorchRLEnv(rows=2)
        >>> _ = env.set_seed(0)
        >>> env.reset()["observation"].shape
        torch.Size([2, 3])
    """

    def __init__(self, rows: int | None = None, *, horizon: int = 5, discrete: int = 0) -> None:
        batch = torch.Size([]) if rows is None else torch.Size([rows])
        super().__init__(device=torch.device("cpu"), batch_size=batch)
        self.signals = [Signal(horizon=horizon) for _ in range(rows or 1)]
        self._fresh = [False] * len(self.signals)
        self.observation_spec = Composite(
            observation=Bounded(-2.0, 2.0, (*batch, FEATURES), dtype=torch.float32), shape=batch
        )
        numbers = Bounded(-1.0, 1.0, (*batch, ACTIONS), dtype=torch.float32)
        self.action_spec = Categorical(discrete, batch) if discrete else numbers
        self.reward_spec = Unbounded((*batch, 1))
        self.done_spec = Composite(
            done=Binary(1, (*batch, 1), dtype=torch.bool),
            terminated=Binary(1, (*batch, 1), dtype=torch.bool),
            shape=batch,
        )

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            for i, signal in enumerate(self.signals):
                signal.seed(seed + i)
            self._fresh = [True] * len(self.signals)

    def _reset(self, tensordict: TensorDictBase | None = None, **_: object) -> TensorDictBase:
        chosen = None if tensordict is None else tensordict.get("_reset", None)
        rows = [True] * len(self.signals) if chosen is None else chosen.reshape(-1).tolist()
        for i, signal in enumerate(self.signals):
            if rows[i] and not self._fresh[i]:
                signal.restart()
            self._fresh[i] = self._fresh[i] and not rows[i]
        return self._pack(reward=False)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        one = tensordict["action"].shape[len(self.batch_size) :]
        actions = tensordict["action"].reshape(len(self.signals), *one).cpu().numpy()
        for signal, action in zip(self.signals, actions, strict=True):
            signal.advance(action)
        return self._pack(reward=True)

    def _pack(self, *, reward: bool) -> TensorDictBase:
        over = self._rows([[signal.over] for signal in self.signals], torch.bool)
        data = TensorDict(
            {
                "observation": self._rows([s.observation for s in self.signals], torch.float32),
                "terminated": over,
                "done": over.clone(),
            },
            batch_size=self.batch_size,
        )
        if reward:
            data["reward"] = self._rows([[s.reward] for s in self.signals], torch.float32)
        return data

    def _rows(self, values: list[object], dtype: torch.dtype) -> torch.Tensor:
        stacked = torch.as_tensor(np.stack([np.asarray(v) for v in values])).to(dtype)
        return stacked.reshape(*self.batch_size, stacked.shape[-1])
