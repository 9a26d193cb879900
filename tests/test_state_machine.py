"""Any sequence of reset, step, set_epsilon, save, load and clone gives the observation that a model predicts.

The model knows four numbers per row (seed, episode, step, attacked steps) and the formula of the signal; it computes
the attacked observation from them alone, whatever happened on the way.
"""

import copy

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from torchrl.envs import TransformedEnv

from advwrap import FGSM, PGD, ActionShift, AdversarialObs, AtMost, Gated, LinfBall, LowValue, Mixture, Noise
from advwrap.clock import EpisodeClock
from advwrap.testing import strategies
from advwrap.testing.environments import Signal, SignalEnv, SignalTorchRLEnv, signal_vector
from advwrap.testing.victims import ElementwisePolicy

ROWS, HORIZON = 2, 4
WEIGHT = torch.tensor([1.0, -2.0, 0.5])
ACTIONS = [np.array(a, np.float32) for a in ([0.0, 0.0], [1.0, -1.0], [0.3, 0.7])]


def value(observation):
    y = observation * WEIGHT
    return y[:, 0] + y[:, 1] + y[:, 2]


class Radius:
    """A radius that can be set at any time."""

    eps = 0.1

    def __call__(self):
        return self.eps


def attack_with(radius):
    """Noise and white-box, random and counted, in one."""
    within = LinfBall(radius)
    return Gated(
        Mixture(
            (0.4, Noise(within)),
            (0.3, PGD(ActionShift(ElementwisePolicy(WEIGHT)), within=within, steps=2)),
            (0.3, FGSM(LowValue(value=value), within=within)),
        ),
        AtMost(3),
    )


class Gymnasium:
    rows = 1

    def make(self, attack):
        return AdversarialObs(SignalEnv(horizon=HORIZON), attack=attack)

    def reset(self, env, seed, over):
        observation, info = env.reset(seed=seed)
        return observation[None], info["clean_observation"][None]

    def step(self, env, action):
        observation, *_, info = env.step(action)
        return observation[None], info["clean_observation"][None]

    def save(self, env):
        return env.state_dict(), copy.deepcopy(env.unwrapped.signal)

    def load(self, attack, saved):
        env = self.make(attack)
        env.reset(seed=99)
        env.load_state_dict(saved[0])
        env.unwrapped.signal = copy.deepcopy(saved[1])
        return env

    def clone(self, env):
        return copy.deepcopy(env)


class Vector(Gymnasium):
    rows = ROWS

    def make(self, attack):
        return AdversarialObs(signal_vector(ROWS, horizon=HORIZON), attack=attack)

    def reset(self, env, seed, over):
        if seed is None and over:  # the step after the last one resets
            return self.step(env, ACTIONS[0])
        observation, infos = env.reset(seed=seed)
        return observation, infos["clean_observation"]

    def step(self, env, action):
        observation, *_, infos = env.step(np.stack([action] * ROWS))
        return observation, infos["clean_observation"]

    def save(self, env):
        return env.state_dict(), copy.deepcopy(env.unwrapped)

    def load(self, attack, saved):
        env = AdversarialObs(copy.deepcopy(saved[1]), attack=attack)
        env.load_state_dict(saved[0])
        return env


class TorchRL(Gymnasium):
    rows = ROWS

    def make(self, attack):
        return AdversarialObs(SignalTorchRLEnv(rows=ROWS, horizon=HORIZON), attack=attack)

    def reset(self, env, seed, over):
        if seed is not None:
            with torch.random.fork_rng(devices=[]):
                env.set_seed(seed)
        return self._seen(env.reset())

    def step(self, env, action):
        action = torch.from_numpy(np.stack([action] * ROWS))
        return self._seen(env.step(self.data.set("action", action))["next"])

    def save(self, env):
        return copy.deepcopy(env.transform.state_dict()), copy.deepcopy(env.base_env.signals), self.data.clone()

    def load(self, attack, saved):
        env = self.make(attack)
        self.reset(env, 99, over=False)
        env.transform.load_state_dict(saved[0])
        env.base_env.signals = copy.deepcopy(saved[1])
        self.data = saved[2].clone()
        return env

    def clone(self, env):
        base = SignalTorchRLEnv(rows=ROWS, horizon=HORIZON)
        base.signals = copy.deepcopy(env.base_env.signals)
        twin = TransformedEnv(base, env.transform.clone())
        twin.transform.load_state_dict(env.transform.state_dict())
        return twin

    def _seen(self, data):
        self.data = data.exclude("next", "action", "reward").clone()
        return data["observation"].numpy(), data["clean_observation"].numpy()


class Sequences(RuleBasedStateMachine):
    """Drives one environment, and predicts what it shows."""

    framework = Gymnasium()
    saved = Bundle("saved")

    @initialize(seed=strategies.seeds())
    def begin(self, seed):
        self.radius = Radius()
        self.attack = attack_with(self.radius)
        self.env = self.framework.make(self.attack)
        self.reset_with(seed)

    # The model

    def predict(self):
        """The attacked observation of the present step, from the four numbers, and the counts after it."""
        rows = self.framework.rows
        clock = EpisodeClock(rows)
        clock.seed([self.seed + i for i in range(rows)])
        clock.episode[:] = self.episode
        clock.step[:], clock.attacked[:] = self.time, self.attacked
        clock.start(np.zeros(rows, np.bool_))  # nobody starts: only the keys are made again
        clean = torch.from_numpy(np.stack([signal.observation for signal in self.signals]))
        seen = self.attack(clean, context=clock.context(), generator=clock.streams())
        self.attacked = self.attacked + (seen != clean).any(1).numpy()
        return seen.numpy(), clean.numpy()

    def check(self, shown):
        seen, clean = self.predict()
        np.testing.assert_array_equal(shown[1], clean, err_msg="the truth is not the signal")
        np.testing.assert_array_equal(shown[0], seen, err_msg="the attack is not the predicted one")
        moved = np.abs(shown[0].astype(np.float64) - shown[1].astype(np.float64))
        assert (moved <= self.radius.eps).all()
        assert (self.attacked <= 3).all()

    def new_episode(self):
        self.time, self.attacked = 0, np.zeros(self.framework.rows, np.int64)

    # What may happen

    @rule(seed=strategies.seeds())
    def reset_with(self, seed):
        shown = self.framework.reset(self.env, seed, over=False)
        self.seed, self.episode = seed, 0
        self.signals = [Signal(horizon=HORIZON) for _ in range(self.framework.rows)]
        for i, signal in enumerate(self.signals):
            signal.seed(seed + i)
        self.new_episode()
        self.check(shown)

    @rule()
    def reset(self):
        shown = self.framework.reset(self.env, None, over=self.over())
        self.episode += 1
        for signal in self.signals:
            signal.restart()
        self.new_episode()
        self.check(shown)

    def over(self):
        return self.signals[0].over

    @precondition(lambda self: not self.over())
    @rule(action=st.sampled_from(ACTIONS))
    def step(self, action):
        shown = self.framework.step(self.env, action)
        for signal in self.signals:
            signal.advance(action)
        self.time += 1
        self.check(shown)

    @rule(eps=st.sampled_from([0.0, 0.05, 0.3]))
    def set_epsilon(self, eps):
        self.radius.eps = eps

    @rule(target=saved)
    def save(self):
        model = copy.deepcopy((self.seed, self.episode, self.time, self.attacked, self.signals))
        return self.framework.save(self.env), model

    @rule(checkpoint=saved)
    def load(self, checkpoint):
        """Into a new environment, of whatever has happened since."""
        state, model = checkpoint
        self.env = self.framework.load(self.attack, state)
        self.seed, self.episode, self.time, self.attacked, self.signals = copy.deepcopy(model)

    @rule(seed=strategies.seeds())
    def clone(self, seed):
        """A twin that goes its own way changes nothing here."""
        kept = self.framework.save(self.env)
        twin = self.framework.clone(self.env)
        self.framework.reset(twin, seed, over=False)
        self.framework.step(twin, ACTIONS[1])
        if hasattr(self.framework, "data"):
            self.framework.data = kept[2]

    @invariant()
    def counts_are_those_of_the_model(self):
        state = self.framework.save(self.env)[0]
        for name, count in (("episode", self.episode), ("step", self.time + 1), ("attacked", self.attacked)):
            found = next(v for k, v in state.items() if k.endswith(name))
            assert (found.numpy().reshape(-1) == count).all(), name


class VectorSequences(Sequences):
    framework = Vector()


class TorchRLSequences(Sequences):
    framework = TorchRL()


TestGymnasium = Sequences.TestCase
TestVector = VectorSequences.TestCase
TestTorchRL = TorchRLSequences.TestCase
TestGymnasium.settings = TestVector.settings = TestTorchRL.settings = settings(stateful_step_count=15)
