"""A Gymnasium vector environment as a TorchRL environment, at the cost of the simulation and little more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, OneHot, Unbounded
from torchrl.envs import EnvBase

from advwrap.errors import check


class VectorGymEnv(EnvBase):  # type: ignore[misc]
    """All rows of a vector environment step together, and reset one by one when the collector says so.

    TorchRL's `SerialEnv` of as many `GymEnv` moves every tensor of every environment on its own; here a step is one
    call. Episodes begin only where TorchRL asks for it, so no transition ever joins two of them.

    Reads: "action".
    Writes: "observation", with `truth` "clean_observation" (the same, where nothing is attacked), "reward", "done",
    "terminated", "truncated". Actions are clipped to the limits of the space if they leave it; "action" keeps what
    was chosen.

    Args:
        envs: With ``AutoresetMode.DISABLED``; wrapped as you like, `advwrap.AdversarialObs` included.
        truth: Whether "clean_observation" is written: not where transforms attack what this writes, for they do.
        one_hot: Whether discrete actions are one-hot, as in TorchRL's `GymEnv`, or indices.
        device: Where the tensors are; the simulators are on the CPU.

    Raises:
        ValueError: If it resets by itself.
        TypeError: If the observations are no Box, or the actions neither Box nor Discrete.

    Example:
        >>> make = lambda: gym.make("Pendulum-v1")
        >>> env = VectorGymEnv(gym.vector.SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.DISABLED))
        >>> env.rollout(5)["next", "reward"].shape
        torch.Size([3, 5, 1])
    """

    def __init__(
        self,
        envs: VectorEnv[Any, Any, Any],
        *,
        truth: bool = True,
        one_hot: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        mode = envs.metadata.get("autoreset_mode")
        check(
            mode == AutoresetMode.DISABLED,
            f"`envs` must not reset by itself, got {mode}.",
            fix="make it with `autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED`.",
        )
        rows = envs.num_envs
        super().__init__(batch_size=torch.Size([rows]), device=torch.device(device))
        self.__dict__["envs"] = envs
        self.truth, self.one_hot = truth, one_hot
        observations, actions = envs.single_observation_space, envs.single_action_space
        if not isinstance(observations, gym.spaces.Box):
            raise TypeError(f"`envs` must have Box observations, got {observations}.")
        shape = (rows, *observations.shape)
        names = ("observation", "clean_observation") if truth else ("observation",)
        self.observation_spec = Composite({key: Unbounded(shape, dtype=torch.float32) for key in names}, shape=[rows])
        self.action_spec = _action_spec(actions, rows, one_hot=one_hot)
        self.reward_spec = Unbounded((rows, 1), dtype=torch.float32)
        flag = {key: Categorical(2, shape=(rows, 1), dtype=torch.bool) for key in ("done", "terminated", "truncated")}
        self.done_spec = Composite(flag, shape=[rows])
        self._limits = (actions.low, actions.high) if isinstance(actions, gym.spaces.Box) else None
        self._start = int(actions.start) if isinstance(actions, gym.spaces.Discrete) else 0
        self._seed: int | None = None

    def _set_seed(self, seed: int | None) -> None:
        self._seed = seed

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDict:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        rows = None if mask is None else mask.reshape(-1).numpy()
        if rows is None or rows.all():
            observation, info = self.envs.reset(seed=self._seed)
            self._seed = None  # the episodes that follow go on from it
        else:
            observation, info = self.envs.reset(options={"reset_mask": rows})
        never = torch.zeros(self.batch_size[0], 1, dtype=torch.bool)
        flags = {"done": never, "terminated": never.clone(), "truncated": never.clone()}
        return self._written(self._seen(observation, info) | flags)

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        observation, reward, terminated, truncated, info = self.envs.step(self._executed(tensordict.get("action")))
        over, cut = _column(terminated), _column(truncated)
        result = self._seen(observation, info)
        result |= {"reward": _column(reward).float(), "terminated": over, "truncated": cut, "done": over | cut}
        return self._written(result)

    def _executed(self, action: Tensor) -> Any:
        if self._limits is not None:
            return action.numpy(force=True).clip(*self._limits)
        index = action.argmax(-1) if self.one_hot else action
        return index.numpy(force=True) + self._start

    def _written(self, values: dict[str, Tensor]) -> TensorDict:
        return TensorDict(values, batch_size=self.batch_size, device=self.device)

    def _seen(self, observation: Any, info: dict[str, Any]) -> dict[str, Tensor]:
        seen = _tensor(observation)
        if not self.truth:
            return {"observation": seen}
        truth = info.get("clean_observation")
        return {"observation": seen, "clean_observation": seen.clone() if truth is None else _tensor(truth)}

    def get_extra_state(self) -> list[dict[str, Any]]:
        """What the wrappers around the environments know, for `state_dict`; where those stand is not in it."""
        return [dict(wrapper.state_dict()) for wrapper in self._stateful()]

    def set_extra_state(self, state: list[dict[str, Any]]) -> None:
        """Continue from a `state_dict`."""
        for wrapper, then in zip(self._stateful(), state, strict=True):
            wrapper.load_state_dict(then)

    def _stateful(self) -> Iterator[Any]:
        return (layer for layer in layers(self.envs) if hasattr(type(layer), "state_dict"))

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the environments."""
        if not self.is_closed:
            self.envs.close()
        super().close(raise_if_closed=raise_if_closed)


def side_by_side(tasks: Sequence[gym.Env[Any, Any]]) -> SyncVectorEnv:
    """These very tasks as the rows of a vector environment that resets none of them by itself."""
    return SyncVectorEnv([partial(_itself, task) for task in tasks], autoreset_mode=AutoresetMode.DISABLED)


def _itself(task: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return task


def layers(envs: VectorEnv[Any, Any, Any]) -> Iterator[VectorWrapper]:
    """The wrappers around a vector environment, from the outermost inwards."""
    while isinstance(envs, VectorWrapper):
        yield envs
        envs = envs.env


def _action_spec(space: gym.spaces.Space[Any], rows: int, *, one_hot: bool) -> Any:
    if isinstance(space, gym.spaces.Discrete):
        n = int(space.n)
        return OneHot(n, shape=(rows, n), dtype=torch.int64) if one_hot else Categorical(n, shape=(rows,))
    if not isinstance(space, gym.spaces.Box):
        raise TypeError(f"`envs` must have Box or Discrete actions, got {space}.")
    shape = (rows, *space.shape)
    if not np.isfinite([space.low, space.high]).all():
        return Unbounded(shape, dtype=torch.float32)
    low, high = (torch.as_tensor(limit, dtype=torch.float32).expand(shape) for limit in (space.low, space.high))
    return Bounded(low, high, shape, dtype=torch.float32)


def _tensor(values: Any) -> Tensor:
    """A float32 copy: environments reuse their arrays."""
    return torch.tensor(values, dtype=torch.float32)


def _column(values: Any) -> Tensor:
    return torch.as_tensor(np.array(values)).unsqueeze(-1)
