"""Transitions (s, a, r, s', a') of a policy, in batches: what Sarsa learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from advwrap.errors import check
from advwrap.losses.trained_policy import sampled
from advwrap.victims import AnyPolicy, as_policy


def sarsa_batches(
    make: Callable[[], gym.Env[Any, Any]],
    policy: AnyPolicy,
    *,
    frames: int = 2048,
    num_envs: int = 1,
    reward_scale: float = 1.0,
    reward_limit: float = float("inf"),
    seed: int = 0,
) -> Iterator[TensorDict]:
    """Play the policy for ever, and give what it did in batches, in the order of time.

    The policy samples its actions, as it did when it was trained; they are not clipped. a' is the action that it takes
    in s', also where a time limit ends the episode there.

    Args:
        make: Makes the environment, with the observations that the policy reads (normalised, if it was trained so).
        policy: The policy, continuous: anything that `advwrap.victims.as_policy` takes.
        frames: Transitions per batch, a multiple of `num_envs`.
        num_envs: Environments that run together.
        reward_scale: Rewards are multiplied by it: one over the standard deviation of the discounted return, say.
        reward_limit: And then clipped to this size.
        seed: Of the environments and of the sampled actions.

    Shapes: batches [frames], with "observation" and "action" at root and in "next", where "reward", "terminated" and
        "done" are too, [frames, 1].

    Raises:
        ValueError: If `frames` is no multiple of `num_envs`.

    Example:
        >>> batches = sarsa_batches(lambda: gym.make("Pendulum-v1"), lambda obs: obs[:, :1], frames=8, num_envs=2)
        >>> next(batches)["next", "action"].shape
        torch.Size([8, 1])
    """
    check(
        frames > 0 and frames % num_envs == 0,
        f"`frames` must be a multiple of `num_envs`, got {frames} and {num_envs}.",
    )
    victim = as_policy(policy)
    generator = torch.Generator().manual_seed(seed)
    envs = SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.DISABLED)

    @torch.no_grad()
    def act(state: Tensor) -> Tensor:
        return sampled(victim, state, generator=generator)

    try:
        state = _tensor(envs.reset(seed=seed)[0])
        action = act(state)
        while True:
            steps: list[TensorDict] = []
            for _ in range(frames // num_envs):
                seen, reward, terminated, truncated, _ = envs.step(action.numpy())
                following = {"observation": _tensor(seen)}
                following |= {"action": act(following["observation"])}
                number = torch.as_tensor(reward * reward_scale, dtype=torch.float32).clamp(-reward_limit, reward_limit)
                ended = torch.from_numpy(terminated | truncated)
                flags = {"terminated": torch.from_numpy(terminated.copy()), "done": ended}
                step = {"reward": number, **flags}
                after = {**following, **{name: value.unsqueeze(1) for name, value in step.items()}}
                now = {"observation": state, "action": action, "next": TensorDict(after, [num_envs])}
                steps.append(TensorDict(now, [num_envs]))
                state, action = following["observation"], following["action"]
                if bool(ended.any()):
                    state = _tensor(envs.reset(options={"reset_mask": ended.numpy()})[0])
                    action = torch.where(ended.unsqueeze(1), act(state), action)
            yield torch.cat(steps)
    finally:
        envs.close()


def with_next_action(rollout: TensorDictBase) -> TensorDictBase:
    """What a TorchRL collector or `env.rollout` gives, as transitions with the action that followed.

    The last step of the rollout is dropped, and steps whose episode a time limit ended: nobody took the action after
    them.

    Args:
        rollout: Steps in the order of time.

    Shapes: [..., T] -> [N].

    Example:
        >>> steps = TensorDict({"action": torch.tensor([[1.0], [2.0], [3.0]]), "next": {}}, [3])
        >>> with_next_action(steps)["next", "action"]
        tensor([[2.],
                [3.]])
    """
    axis = rollout.batch_dims - 1
    length = rollout.batch_size[-1]
    steps = rollout.narrow(axis, 0, length - 1)
    steps["next", "action"] = rollout["action"].narrow(axis, 1, length - 1)
    steps = steps.reshape(-1)
    truncated = steps.get(("next", "truncated"), None)
    return steps if truncated is None else steps[~truncated.reshape(-1)]


def _tensor(observation: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(observation), dtype=torch.float32).clone()
