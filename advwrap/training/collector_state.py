"""A TorchRL collector in a checkpoint: where its environments stand, and what it shows next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensordict import TensorDict
from torchrl.collectors import Collector
from torchrl.envs import EnvBase, TransformedEnv

from advwrap.training.replayable import Replayable


class CollectorState:
    """The state of a collector whose environments are `Replayable`.

    TorchRL's own ``collector.state_dict()`` holds the transforms and the policy, but not the state of the simulators
    nor the observation that the policy acts on next, so that collection would begin with new episodes.

    Args:
        collector: A collector around a `TransformedEnv` or a `VectorGymEnv`.
        tasks: Its simulators, in order.

    Example:
        >>> import gymnasium as gym
        >>> from tensordict.nn import TensorDictModule
        >>> from torch import nn
        >>> from torchrl.envs import GymWrapper, InitTracker, SerialEnv, TransformedEnv
        >>> tasks = [Replayable(gym.make("Pendulum-v1")) for _ in range(2)]
        >>> env = SerialEnv(2, [lambda task=task: GymWrapper(task) for task in tasks])
        >>> policy = TensorDictModule(nn.Linear(3, 1), ["observation"], ["action"])
        >>> collector = Collector(TransformedEnv(env, InitTracker()), policy, frames_per_batch=4, total_frames=12)
        >>> batches, state = iter(collector), CollectorState(collector, tasks)
        >>> _, then = next(batches), state.state_dict()
        >>> following = next(batches)["next", "reward"]
        >>> state.load_state_dict(then)
        >>> bool((next(batches)["next", "reward"] == following).all())
        True
    """

    def __init__(self, collector: Collector, tasks: Sequence[Replayable]) -> None:
        self.collector = collector
        self.tasks = tasks

    def state_dict(self) -> dict[str, Any]:
        """Simulators, transforms or wrappers, the carried observation and the counts."""
        collector = self.collector
        return {
            "tasks": [task.state_dict() for task in self.tasks],
            "environments": [dict(env.state_dict()) for env in _layers(collector.env)],
            "carrier": collector._carrier.to_dict(),
            "frames": collector._frames,
            "iter": collector._iter,
            "trajectories": dict(collector._traj_pool.state_dict()) if collector.track_traj_ids else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put everything back where it stood."""
        collector = self.collector
        for task, then in zip(self.tasks, state["tasks"], strict=True):
            task.load_state_dict(then)
        for env, then in zip(_layers(collector.env), state["environments"], strict=True):
            env.load_state_dict(then)
        carrier = TensorDict.from_dict(state["carrier"], auto_batch_size=False)
        carrier.batch_size = collector._carrier.batch_size
        collector._carrier.update(carrier)
        collector._frames, collector._iter = state["frames"], state["iter"]
        if collector.track_traj_ids:
            collector._traj_pool.load_state_dict(state["trajectories"])


def _layers(env: EnvBase) -> list[EnvBase]:
    """The environment, and what is beneath its transforms: each knows its own state only."""
    return [env, *_layers(env.base_env)] if isinstance(env, TransformedEnv) else [env]
