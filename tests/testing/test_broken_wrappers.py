"""The rules of one framework catch the mistakes that they are there for, those of all frameworks also in TorchRL."""

import copy
import inspect

import gymnasium as gym
import numpy as np
import pytest
import torch

from advwrap import UNBOUNDED
from advwrap.testing import ActionTransformContract, ObservationTransformContract, ObservationWrapperContract
from advwrap.transforms import AdversarialAction as ActionTransform
from advwrap.transforms import AdversarialObs as ObsTransform
from advwrap.wrappers.gymnasium import AdversarialObs
from tests.testing.catching import broken


def arguments(contract, rule):
    return [0] * len(inspect.signature(getattr(contract, rule)).parameters)  # the seed


class LateStart(AdversarialObs):
    """Forgets the observation of the reset."""

    def reset(self, *, seed=None, options=None):
        _observation, info = super().reset(seed=seed, options=options)
        return info["clean_observation"], info


class Harmless(AdversarialObs):
    def step(self, action):
        _observation, *rest, info = super().step(action)
        return info["clean_observation"], *rest, info


class Repeating(AdversarialObs):
    """Starts from the same noise whatever the seed was: what came before decides."""

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed, options=options)
        self._clock.start()
        return self._attacked(observation, info)


class Doubling(AdversarialObs):
    def step(self, action):
        observation, *rest, info = super().step(action)
        return observation.astype(np.float64), *rest, info


class Nameless(gym.Wrapper):
    """Not rebuilt by its spec: the attack is lost."""

    def __init__(self, env, attack):
        super().__init__(AdversarialObs(env, attack=attack))

    @property
    def spec(self):
        return self.env.env.spec


WRAPPERS = [
    ("test_seed_decides", Repeating),
    ("test_spec_rebuilds_the_environment", Nameless),
    ("test_only_the_observation_changes", LateStart),
    ("test_only_the_observation_changes", Harmless),
    ("test_check_env_passes", Doubling),
]


@pytest.mark.parametrize(("rule", "kind"), WRAPPERS, ids=lambda x: getattr(x, "__name__", x))
def test_broken_observation_wrappers_are_caught(rule, kind):
    class Contract(ObservationWrapperContract):
        def wrap(self, env, attack):
            return kind(env, attack)

    broken(Contract(), rule, *arguments(Contract(), rule))


class Remembering:
    """The past outlives its episode."""

    def begin_episodes(self, *how):
        kept = copy.deepcopy(self._clock.past) if self._clock else {}
        begun = super().begin_episodes(*how)
        self._clock.past.update(kept)
        return begun


class Alike:
    """All rows draw the same."""

    def _restart(self, clock):
        clock.seed([7] * clock.rows)


class OtherNumbers:
    """As if it were the second of its kind."""

    def _salt(self):
        return super()._salt() + 1


class Amnesic:
    def load_state_dict(self, *args, **kwargs):
        return None


class Twins:
    """A clone that shares its clock."""

    def clone(self):
        twin = super().clone()
        twin.__dict__["_clock"] = self.__dict__["_clock"]
        return twin


class Touching:
    """Changes the reward."""

    def _step(self, tensordict, next_tensordict):
        out = super()._step(tensordict, next_tensordict)
        return out.set("reward", out["reward"] + 0.1)


class Counting:
    """Changes what no rule but that of all keys looks at."""

    def _step(self, tensordict, next_tensordict):
        out = super()._step(tensordict, next_tensordict)
        return out.set("done", out["done"] | True)


class InPlace:
    """Writes the perturbation into the environment's own tensor."""

    def _perturb(self, clock, data, mask):
        true = data.get(self.key)
        super()._perturb(clock, data, mask)
        true.copy_(data.get(self.key))


class Global:
    def _perturb(self, clock, data, mask):
        super()._perturb(clock, data, mask)
        data.set(self.key, data.get(self.key) + 1e-3 * torch.rand(()))


class Sleeping:
    def _reset(self, tensordict, tensordict_reset):
        out = super()._reset(tensordict, tensordict_reset)
        return out.set(self.key, out[self.clean_key].clone())


class Out:
    def _perturb(self, clock, data, mask):
        super()._perturb(clock, data, mask)
        data.set(self.key, data.get(self.key) + 5)


class Trusting:
    """Makes something of NaN."""

    def _inv_call(self, tensordict):
        key = "action"
        return super()._inv_call(tensordict.set(key, tensordict.get(key).nan_to_num()))


class Lying:
    def report(self, tensordict):
        tensordict.set(self.executed_key, tensordict.get(self.key).clone())


class Unclipped:
    def __init__(self, attack):
        super().__init__(attack, bounds=UNBOUNDED)


BOTH = [
    ("test_memory_begins_anew", Remembering),
    ("test_numbers_of_gymnasium", OtherNumbers),
    ("test_rows_draw_their_own_numbers", Alike),
    ("test_checkpoint_continues", Amnesic),
    ("test_clones_have_their_own_state", Twins),
    ("test_identity_changes_nothing", Touching),
]
OBSERVATIONS = [
    ("test_only_the_observation_changes", InPlace),
    ("test_only_the_observation_changes", Touching),
    ("test_only_the_observation_changes", Sleeping),
    ("test_all_other_keys_stay", Counting),
    ("test_seed_decides", Global),
    ("test_seen_observations_are_in_the_space", Out),
    ("test_broken_observation_is_refused", Trusting),
]
ACTIONS = [
    ("test_the_environment_gets_the_executed_action", Lying),
    ("test_all_keys_follow_from_the_executed_action", Lying),
    ("test_executed_actions_are_in_the_space", Unclipped),
    ("test_broken_action_is_refused", Trusting),
]
TRANSFORMS = [
    *[(ObservationTransformContract, ObsTransform, *mistake) for mistake in [*BOTH, *OBSERVATIONS]],
    *[(ActionTransformContract, ActionTransform, *mistake) for mistake in [*BOTH, *ACTIONS]],
]


@pytest.mark.parametrize(("contract", "kind", "rule", "mistake"), TRANSFORMS, ids=lambda x: getattr(x, "__name__", x))
def test_broken_transforms_are_caught(contract, kind, rule, mistake):
    class Contract(contract):
        def make_transform(self, attack):
            return type("Broken", (mistake, kind), {})(attack)

    broken(Contract(), rule, *arguments(Contract(), rule))
