"""The rules that all frameworks share catch the same mistakes in each of them."""

import copy
import inspect

import numpy as np
import pytest
from gymnasium.spaces import Box

from advwrap import UNBOUNDED, Identity, LinfBall, Noise, testing
from advwrap.testing.contracts.handled import overwrite
from advwrap.wrappers import gymnasium, vector
from advwrap.wrappers.pettingzoo import aec, parallel
from tests.testing.catching import broken

FRAMEWORKS = {"Wrapper": gymnasium, "Vector": vector, "Parallel": parallel, "AEC": aec}
CHANNELS = {"Action": "AdversarialAction", "Observation": "AdversarialObs"}


def each(tree, change):
    """The values of a dict by agent, or the one value."""
    return {agent: change(value) for agent, value in tree.items()} if isinstance(tree, dict) else change(tree)


# How episodes begin


class Seedless:
    def _begin(self, *how):
        super()._begin(*how)
        self._clock.seed(None)


class Global:
    def _begin(self, *how):
        super()._begin(*how)
        np.random.rand()  # noqa: NPY002


class SharedGenerator:
    """Draws from the environment's own generator."""

    def _begin(self, *how):
        super()._begin(*how)
        env = self.unwrapped
        getattr(env, "envs", [env])[0].np_random.normal()


class OtherNumbers:
    """As if it were the second of its kind in a stack."""

    def _begin(self, *how):
        self._clock.salt = 5
        super()._begin(*how)


class Alike:
    """All rows and agents draw the same."""

    def _begin(self, *how):
        super()._begin(*how)
        self._clock.agent[:] = 0
        self._clock.seed([7] * self._clock.rows)


class Remembering:
    """The past outlives its episode."""

    def _begin(self, *how):
        self._keeping(super()._begin, *how)

    def _follow(self, *how):
        self._keeping(super()._follow, *how)

    def _keeping(self, begin, *how):
        kept = copy.deepcopy(self._clock.past)
        begin(*how)
        self._clock.past.update(kept)


class Forgetting:
    """When the episode of one row begins, all rows forget."""

    def _follow(self, *how):
        episodes = self._clock.episode.copy()
        super()._follow(*how)
        if (episodes != self._clock.episode).any():
            self._clock.past.clear()


# What they make of the attack


class Strong:
    def __init__(self, env, attack):
        super().__init__(env, Noise(LinfBall(0.2)))


class Idle:
    def __init__(self, env, attack):
        super().__init__(env, Identity())


class Unclipped:
    def __init__(self, env, attack):
        super().__init__(env, attack, bounds=UNBOUNDED)


class Widened:
    """Invites the agent to actions that the environment does not know."""

    def __init__(self, env, attack):
        super().__init__(env, attack)
        wider = Box(-2, 2, (2,))
        if hasattr(env, "possible_agents"):
            self.action_space = lambda agent: wider
        elif hasattr(env, "num_envs"):
            self.single_action_space = wider
        else:
            self.action_space = wider


# What they do with commands


class Writing:
    def step(self, action):
        result = super().step(action)
        overwrite(action)
        return result


class Trusting:
    """Makes something of NaN."""

    def step(self, action):
        return super().step(None if action is None else each(action, np.nan_to_num))


# What they tell


class Telling:
    """Tells something else: `told` has the results of a step in order, as every framework returns them."""

    def step(self, action):
        self.given = action
        result = super().step(action)
        return None if result is None else self.told(*result)

    def last(self, observe=True):
        return self.told(*super().last(observe))

    def told(self, observation, reward, terminated, truncated, info):
        agents = hasattr(self, "possible_agents") and not hasattr(self, "agent_selection")
        info = each(info, self.tell) if agents else self.tell(info)
        return observation, reward, terminated, truncated, info

    def tell(self, info):
        return info


class Rewarding(Telling):
    def told(self, observation, reward, *rest):
        return observation, each(reward, lambda value: value + 0.01), *rest


class Ending(Telling):
    def told(self, observation, reward, terminated, truncated, info):
        return observation, reward, truncated, terminated, info


class Doubling(Telling):
    def told(self, observation, *rest):
        return each(observation, lambda seen: seen.astype(np.float64)), *rest


class Out(Telling):
    def told(self, observation, *rest):
        return each(observation, lambda seen: seen + np.float32(5)), *rest


class Buffered(Telling):
    """Returns its own arrays and reads them again."""

    def told(self, observation, *rest):
        kept, self.kept = self.__dict__.get("kept", observation), observation
        if isinstance(observation, dict):
            return {agent: self.read(kept.get(agent, seen), seen) for agent, seen in observation.items()}, *rest
        return self.read(kept, observation), *rest

    def read(self, kept, seen):
        return seen if np.abs(kept).max() < 1e3 else kept


class Losing(Telling):
    def tell(self, info):
        return {}


class Pretending(Telling):
    """Reports an action that it did not execute."""

    def tell(self, info):
        return {**info, **({"executed_action": info["action"]} if "action" in info else {})}


class Understating(Telling):
    """What it reports is less than what it executed."""

    def tell(self, info):
        return {
            **info,
            **({"executed_action": (info["action"] + info["executed_action"]) / 2} if "action" in info else {}),
        }


class Mixed(Telling):
    """Forgets what the agent intended."""

    def tell(self, info):
        return {**info, **({"action": info["executed_action"]} if "action" in info else {})}


class Silent(Telling):
    """What it calls the truth is something else."""

    def tell(self, info):
        return {**info, "clean_observation": info["clean_observation"] + 0.01}


class Final(Telling):
    """Perturbs what a finished row is told beside the others."""

    def tell(self, info):
        for last in info.get("final_obs", []):
            if last is not None:
                last[...] = last + 0.01
        return info


class Keeping:
    """Holds on to the caller's own array."""

    def step(self, action):
        result = super().step(action)
        if result is None:  # in turns
            for told in self._told.values():
                if action is not None and np.array_equal(told["action"], action):
                    told["action"] = action
            return None
        info = result[-1]
        for agent in [*info] if isinstance(action, dict) else []:
            info[agent]["action"] = action[agent]
        return *result[:-1], info if isinstance(action, dict) else {**info, "action": action}


SHARED = [
    ("test_identity_changes_nothing", Rewarding),
    ("test_identity_changes_nothing", Ending),
    ("test_identity_changes_nothing", Out),
    ("test_seed_decides", Seedless),
    ("test_seed_decides", Global),
    ("test_seed_decides", SharedGenerator),
    ("test_spaces_stay", Widened),
    ("test_returned_data_are_the_agents", Buffered),
    ("test_memory_begins_anew", Remembering),
]
ROWS = [("test_numbers_of_gymnasium", OtherNumbers), ("test_rows_draw_their_own_numbers", Alike)]
VECTOR = [
    ("test_memory_begins_anew", Forgetting),
    ("test_batched_spaces_fit", Widened),
]
ACTION = [
    ("test_the_environment_gets_the_executed_action", Pretending),
    ("test_the_environment_gets_the_executed_action", Understating),
    ("test_the_environment_gets_the_executed_action", Mixed),
    ("test_the_environment_gets_the_executed_action", Losing),
    ("test_the_environment_gets_the_executed_action", Strong),
    ("test_the_environment_gets_the_executed_action", Idle),
    ("test_executed_actions_are_in_the_space", Unclipped),
    ("test_commands_stay_the_callers", Writing),
    ("test_commands_stay_the_callers", Keeping),
    ("test_broken_action_is_refused", Trusting),
]
OBSERVATION = [
    ("test_spaces_stay", Unclipped),
    ("test_only_the_observation_changes", Rewarding),
    ("test_only_the_observation_changes", Ending),
    ("test_only_the_observation_changes", Doubling),
    ("test_only_the_observation_changes", Losing),
    ("test_only_the_observation_changes", Silent),
    ("test_only_the_observation_changes", Strong),
    ("test_only_the_observation_changes", Idle),
    ("test_seen_observations_are_in_the_space", Out),
    ("test_broken_observation_is_refused", Trusting),
]


def mistakes():
    for channel, own in (("Action", ACTION), ("Observation", OBSERVATION)):
        for framework in FRAMEWORKS:
            rows = [] if framework == "Wrapper" else ROWS
            rows = [*rows, *VECTOR] if framework == "Vector" else rows
            for rule, mistake in [*SHARED, *rows, *own]:
                yield pytest.param(
                    channel, framework, rule, mistake, id=f"{channel}{framework}-{rule}-{mistake.__name__}"
                )


MISTAKES = [*mistakes(), ("Observation", "Vector", "test_only_the_observation_changes", Final)]


@pytest.mark.parametrize(("channel", "framework", "rule", "mistake"), MISTAKES)
def test_broken_wrappers_are_caught(channel, framework, rule, mistake):
    kind = type("Broken", (mistake, getattr(FRAMEWORKS[framework], CHANNELS[channel])), {})
    contract = type(
        "Contract", (getattr(testing, f"{channel}{framework}Contract"),), {"wrap": lambda _, *how: kind(*how)}
    )()
    broken(contract, rule, *[0] * len(inspect.signature(getattr(contract, rule)).parameters))


@pytest.mark.parametrize("framework", ["Parallel", "AEC"])
def test_broken_agents_fail_the_checkers_of_pettingzoo(framework):
    class Vague(Telling):
        """Ends that are no booleans."""

        def told(self, observation, reward, terminated, truncated, info):
            return observation, reward, each(terminated, str), truncated, info

    kind = type("Broken", (Vague, FRAMEWORKS[framework].AdversarialAction), {})
    contract = type(
        "Contract", (getattr(testing, f"Action{framework}Contract"),), {"wrap": lambda _, *how: kind(*how)}
    )()
    broken(contract, "test_parallel_api_passes" if framework == "Parallel" else "test_api_passes")
