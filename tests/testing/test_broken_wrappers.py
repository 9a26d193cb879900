"""Every rule of the contracts of wrappers and transforms catches the mistakes that it is there for."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from advwrap.testing import (
    ActionTransformContract,
    ActionWrapperContract,
    ObservationTransformContract,
    ObservationWrapperContract,
)
from advwrap.testing.environments import SignalEnv
from advwrap.transforms import AdversarialAction as ActionTransform
from advwrap.transforms import AdversarialObs as ObsTransform
from advwrap.wrappers.gymnasium import AdversarialAction, AdversarialObs
from tests.testing.catching import broken


class SharedGenerator(AdversarialObs):
    """Draws from the environment's own generator."""

    def step(self, action):
        self.np_random.normal()
        return super().step(action)


class Global(AdversarialObs):
    def step(self, action):
        np.random.rand()  # noqa: NPY002
        return super().step(action)


class Rewarding(AdversarialObs):
    def step(self, action):
        observation, reward, *ends, info = super().step(action)
        return observation, reward + 0.01, *ends, info


class Ending(AdversarialObs):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, truncated, terminated, info


class LateStart(AdversarialObs):
    """Forgets the observation of the reset."""

    def reset(self, *, seed=None, options=None):
        _observation, info = super().reset(seed=seed, options=options)
        return info["clean_observation"], info


class Harmless(AdversarialObs):
    def step(self, action):
        _observation, *rest, info = super().step(action)
        return info["clean_observation"], *rest, info


class Wide(AdversarialObs):
    def step(self, action):
        observation, *rest, info = super().step(action)
        return info["clean_observation"] + 2 * (observation - info["clean_observation"]), *rest, info


class Seedless(AdversarialObs):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self._clock.seed(None)
        return observation, info


class Repeating(AdversarialObs):
    """Starts from the same noise whatever the seed was: what came before decides."""

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed, options=options)
        self._clock.start()
        return self._attacked(observation, info)


class Silent(AdversarialObs):
    """The clean observation it reports is the one that was seen."""

    def step(self, action):
        observation, *rest, info = super().step(action)
        return observation, *rest, {**info, "clean_observation": observation}


class Losing(AdversarialObs):
    def step(self, action):
        observation, *rest, _info = super().step(action)
        return observation, *rest, {}


class Doubling(AdversarialObs):
    def step(self, action):
        observation, *rest, info = super().step(action)
        return observation.astype(np.float64), *rest, info


class Buffered(AdversarialObs):
    """Returns its own buffer and reads it again."""

    def step(self, action):
        observation, *rest, info = super().step(action)
        kept = getattr(self, "kept", observation)
        self.kept = observation
        return (observation if np.abs(kept).max() < 1e3 else kept), *rest, info


class Nameless(gym.Wrapper):
    """Not rebuilt by its spec: the attack is lost."""

    def __init__(self, env, attack):
        super().__init__(AdversarialObs(env, attack=attack))

    @property
    def spec(self):
        return self.env.env.spec


class Out(gym.ObservationWrapper):
    """Neither in the space nor counting NaN."""

    def __init__(self, env, attack):
        super().__init__(env)

    def observation(self, observation):
        return observation + np.float32(0.1)


OBSERVATIONS = [
    ("test_seed_decides", SharedGenerator),
    ("test_seed_decides", Global),
    ("test_seed_decides", Seedless),
    ("test_seed_decides", Repeating),
    ("test_identity_changes_nothing", Rewarding),
    ("test_identity_changes_nothing", Ending),
    ("test_identity_changes_nothing", Doubling),
    ("test_returned_data_are_the_agents", Buffered),
    ("test_spec_rebuilds_the_environment", Nameless),
    ("test_only_the_observation_changes", Rewarding),
    ("test_only_the_observation_changes", Wide),
    ("test_only_the_observation_changes", LateStart),
    ("test_only_the_observation_changes", Harmless),
    ("test_only_the_observation_changes", Silent),
    ("test_only_the_observation_changes", Doubling),
    ("test_seen_observations_are_in_the_space", Out),
    ("test_broken_observation_is_refused", Out),
    ("test_check_env_passes", Doubling),
]


def arguments(rule):
    return [0] if "seed" in rule.__code__.co_varnames[: rule.__code__.co_argcount] else []


@pytest.mark.parametrize(("rule", "kind"), OBSERVATIONS, ids=lambda x: getattr(x, "__name__", x))
def test_broken_observation_wrappers_are_caught(rule, kind):
    class Contract(ObservationWrapperContract):
        def wrap(self, env, attack):
            return kind(env, attack)

    broken(Contract(), rule, *arguments(getattr(ObservationWrapperContract, rule)))


class Pretending(AdversarialAction):
    """Reports an action that it did not execute."""

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "executed_action": info["action"]}


class Mixed(AdversarialAction):
    """Forgets what the agent intended."""

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "action": info["executed_action"]}


class Strong(AdversarialAction):
    def step(self, action):
        return super().step(np.clip(action + 0.2, -1, 1).astype(np.float32))


class Trusting(gym.Wrapper):
    def __init__(self, env, attack):
        super().__init__(env)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("test_the_environment_gets_the_executed_action", Pretending),
        ("test_the_environment_gets_the_executed_action", Mixed),
        ("test_the_environment_gets_the_executed_action", Strong),
        ("test_the_environment_gets_the_executed_action", Trusting),
        ("test_broken_action_is_refused", Trusting),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_broken_action_wrappers_are_caught(rule, kind):
    class Contract(ActionWrapperContract):
        def make_env(self):
            return SignalEnv()

        def wrap(self, env, attack):
            return kind(env, attack)

    broken(Contract(), rule, *arguments(getattr(ActionWrapperContract, rule)))


class InPlace(ObsTransform):
    """Writes the perturbation into the environment's own tensor."""

    def _perturb(self, clock, data, mask):
        true = data.get(self.key)
        super()._perturb(clock, data, mask)
        true.copy_(data.get(self.key))


class GlobalTransform(ObsTransform):
    def _perturb(self, clock, data, mask):
        super()._perturb(clock, data, mask)
        data.set(self.key, data.get(self.key) + 1e-3 * torch.rand(()))


class Touching(ObsTransform):
    """Changes more than the observation."""

    def _step(self, tensordict, next_tensordict):
        out = super()._step(tensordict, next_tensordict)
        return out.set("reward", out["reward"] + 0.1)


class Sleeping(ObsTransform):
    def _reset(self, tensordict, tensordict_reset):
        out = super()._reset(tensordict, tensordict_reset)
        return out.set(self.key, out[self.clean_key].clone())


class Twins(ObsTransform):
    """A clone that shares its clock."""

    def clone(self):
        twin = super().clone()
        twin.__dict__["_clock"] = self.__dict__["_clock"]
        return twin


class Amnesic(ObsTransform):
    def load_state_dict(self, *args, **kwargs):
        return None


TRANSFORMS = [
    ("test_only_the_observation_changes", InPlace),
    ("test_only_the_observation_changes", Touching),
    ("test_only_the_observation_changes", Sleeping),
    ("test_identity_changes_nothing", Touching),
    ("test_seed_decides", GlobalTransform),
    ("test_checkpoint_continues", Amnesic),
]


@pytest.mark.parametrize(("rule", "kind"), TRANSFORMS, ids=lambda x: getattr(x, "__name__", x))
def test_broken_observation_transforms_are_caught(rule, kind):
    class Contract(ObservationTransformContract):
        def make_transform(self, attack):
            return kind(attack)

    broken(Contract(), rule, *arguments(getattr(ObservationTransformContract, rule)))


class Lying(ActionTransform):
    def report(self, tensordict):
        tensordict.set(self.executed_key, tensordict.get(self.key).clone())


def test_broken_action_transform_is_caught():
    class Contract(ActionTransformContract):
        def make_transform(self, attack):
            return Lying(attack)

    broken(Contract(), "test_the_environment_gets_the_executed_action", 0)
