"""Small environments whose every number is known, and attacks that report what they were given."""

import copy

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv

from advwrap import Noise


class Walk(gymnasium.Env):
    """A random walk from a random start; the action is added, the reward is its sum.

    Episodes last `length` steps; with a list, episode after episode.
    """

    def __init__(self, dtype=np.float32, length=5, shape=(3,), low=-np.inf, high=np.inf, reuse=True):
        self.box = spaces.Box(low, high, shape, dtype)
        self.observation_space = self.box
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.lengths = [length] if isinstance(length, int) else list(length)
        self.episode = -1
        self.buffer = np.zeros(shape, dtype)
        self.reuse = reuse  # the buffer, as some environments do

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
        return self.buffer if self.reuse else self.buffer.copy()


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


class Party(ParallelEnv):
    """Agents of two sizes; agent i leaves after its `lengths[i]` steps. The observation is a random walk.

    With `masked`, the observation is a Dict with an action mask.
    """

    render_mode = None

    def __init__(self, lengths=(3, 5, 5), sizes=(2, 2, 4), masked=False, actions=None):
        self.metadata = {"name": "party_v0", "is_parallelizable": True, "render_modes": []}
        self.possible_agents = [f"agent_{i}" for i in range(len(lengths))]
        self.agents = []
        self.lengths = dict(zip(self.possible_agents, lengths, strict=True))
        self.masked = masked
        action = actions or spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._actions = {agent: copy.deepcopy(action) for agent in self.possible_agents}
        self._observations = {}
        for agent, size in zip(self.possible_agents, sizes, strict=True):
            box = spaces.Box(-np.inf, np.inf, (size,), np.float32)
            mask = spaces.MultiBinary(3)
            both = spaces.Dict(observation=box, action_mask=mask)
            self._observations[agent] = both if masked else box
        self.sizes = dict(zip(self.possible_agents, sizes, strict=True))

    def observation_space(self, agent):
        return self._observations[agent]

    def action_space(self, agent):
        return self._actions[agent]

    def reset(self, seed=None, options=None):
        if seed is not None or not hasattr(self, "random"):
            self.random = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self.t = 0
        self.received = {}
        self.state = {a: self.random.normal(size=n) for a, n in self.sizes.items()}
        return self._see(self.agents), {agent: {"t": 0} for agent in self.agents}

    def step(self, actions):
        acting = self.agents
        assert set(actions) == set(acting)
        self.received = actions
        self.t += 1
        for agent in acting:
            self.state[agent] = self.state[agent] + 0.1 * np.sum(actions[agent])
        over = {agent: self.t >= self.lengths[agent] for agent in acting}
        self.agents = [agent for agent in acting if not over[agent]]
        rewards = {agent: float(np.sum(actions[agent])) for agent in acting}
        infos = {agent: {"t": self.t} for agent in acting}
        return self._see(acting), rewards, over, dict.fromkeys(acting, False), infos

    def _see(self, agents):
        seen = {agent: self.state[agent].astype(np.float32) for agent in agents}
        if not self.masked:
            return seen
        mask = np.array([1, 0, 1], np.int8)
        return {agent: {"observation": o, "action_mask": mask.copy()} for agent, o in seen.items()}

    def render(self):
        return None


class Still(gymnasium.Env):
    """Zeros forever: what an agent sees is the noise itself. Episodes of three steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (4,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(4), {}

    def step(self, action):
        self.t += 1
        return np.zeros(4), 0.0, False, self.t == 3, {}


class StillTogether(ParallelEnv):
    """`Still` for several agents."""

    def __init__(self, agents=2):
        self.metadata = {"name": "still_v0", "is_parallelizable": True}
        self.render_mode = None
        self.possible_agents = [f"agent_{i}" for i in range(agents)]
        self.agents = []

    def observation_space(self, agent):
        return Still.observation_space

    def action_space(self, agent):
        return Still.action_space

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return self._zeros(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions):
        acting, self.t = self.agents, self.t + 1
        over = dict.fromkeys(acting, self.t == 3)
        self.agents = [] if self.t == 3 else acting
        rewards, never = dict.fromkeys(acting, 0.0), dict.fromkeys(acting, False)
        return self._zeros(acting), rewards, never, over, {agent: {} for agent in acting}

    def _zeros(self, agents):
        return {agent: np.zeros(4) for agent in agents}
