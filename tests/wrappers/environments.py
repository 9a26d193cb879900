"""Small environments whose every number is known, and attacks that report what they were given."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from advwrap import Noise


class Walk(gymnasium.Env):
    """A random walk from a random start; the action is added, the reward is its sum.

    Episodes last `length` steps; with a list, episode after episode.
    """

    def __init__(self, dtype=np.float32, length=5, shape=(3,), low=-np.inf, high=np.inf):
        self.box = spaces.Box(low, high, shape, dtype)
        self.observation_space = self.box
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.lengths = [length] if isinstance(length, int) else list(length)
        self.episode = -1
        self.buffer = np.zeros(shape, dtype)  # reused, as some environments do

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.episode += 1
        self.state = self.np_random.uniform(0.3, 0.7, self.box.shape)
        return self._observation(), {"t": self.t}

    def step(self, action):
        self.t += 1
        push = float(np.sum(action))
        self.state = self.state + 0.01 * push + self.np_random.normal(0, 0.01, self.state.shape)
        over = self.t >= self.lengths[self.episode % len(self.lengths)]
        return self._observation(), push, False, over, {"t": self.t}

    def _observation(self):
        scale = 1 if self.box.dtype.kind == "f" else 100
        self.buffer[...] = self.state * scale
        return self.buffer


class WalkInDict(Walk):
    """The walk inside a nested Dict, beside a mask and a name."""

    def __init__(self, **options):
        super().__init__(**options)
        self.observation_space = spaces.Dict(
            {
                "sensors": spaces.Dict({"near": self.box, "far": self.box}),
                "mask": spaces.MultiBinary(4),
                "level": spaces.Discrete(3),
                "name": spaces.Text(10),
            }
        )

    def _observation(self):
        near = np.array(self.state, self.box.dtype)
        return {
            "sensors": {"near": near, "far": -near},
            "mask": np.array([1, 0, 1, 1], np.int8),
            "level": np.int64(2),
            "name": "walk",
        }


class Discrete(Walk):
    """The walk with discrete actions; remembers the last one."""

    def __init__(self, space=None, **options):
        super().__init__(**options)
        self.action_space = space or spaces.Discrete(4)

    def step(self, action):
        assert self.action_space.contains(action), action
        self.received = action
        return super().step(np.atleast_1d(action))


class Image(gymnasium.Env):
    """Grey images that use the whole range."""

    observation_space = spaces.Box(0, 255, (6, 5, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._image(), {}

    def step(self, action):
        return self._image(), 0.0, False, False, {}

    def _image(self):
        image = self.np_random.integers(0, 256, (6, 5, 1), np.uint8)
        image[0, 0], image[0, 1] = 0, 255
        return image


class Spy:
    """Uniform noise that remembers every call."""

    def __init__(self, within):
        self.noise = Noise(within)
        self.calls = []

    def __call__(self, clean, *, context=None, bounds=None, generator=None):
        self.calls.append((clean.clone(), context, bounds))
        return self.noise(clean, context=context, bounds=bounds, generator=generator)

    def last(self, name):
        return self.calls[-1][1][name]


class Shift:
    """Adds a number: what an attack adds is then known exactly."""

    def __init__(self, by):
        self.by = by

    def __call__(self, clean, *, context=None, bounds=None, generator=None):
        return clean + torch.as_tensor(self.by, dtype=clean.dtype)


def play(env, steps, *, seed=0, action=None):
    """Observations, true observations and rewards of a Gymnasium environment, reset where it ends."""
    observation, info = env.reset(seed=seed)
    seen, truth, rewards = [observation], [info.get("clean_observation")], []
    env.action_space.seed(seed)
    for _ in range(steps):
        chosen = env.action_space.sample() if action is None else action
        observation, reward, terminated, truncated, info = env.step(chosen)
        if terminated or truncated:
            seen.append(observation)
            truth.append(info.get("clean_observation"))
            rewards.append(reward)
            observation, info = env.reset()
        seen.append(observation)
        truth.append(info.get("clean_observation"))
        rewards.append(reward)
    return seen, truth, rewards
