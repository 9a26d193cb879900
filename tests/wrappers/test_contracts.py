"""Every fault, and every attack that suites play on actions, keeps the contracts in all frameworks."""

import inspect
import math
from dataclasses import dataclass

import gymnasium as gym
import pytest
import torch

from advwrap import (
    PGD,
    ActionSet,
    AdversarialAction,
    AdversarialObs,
    After,
    Confined,
    Corners,
    CrossEntropyMethod,
    Delay,
    Gated,
    HighReward,
    L2Ball,
    Learned,
    LinfBall,
    LowValue,
    Noise,
    OverHorizon,
    RandomVertex,
    Search,
    Stuck,
    Varying,
    WithProbability,
    sticky,
    testing,
    transforms,
)
from advwrap.attacks import Attack, Overrule, Push, Steered
from advwrap.evaluation.fault_makers import ANY_ACTION, FAULTS
from advwrap.targets import worst_action
from advwrap.testing.contracts.vectors import HORIZONS
from advwrap.testing.environments import (
    SIGNAL,
    SignalEnv,
    SignalParallelEnv,
    SignalTorchRLEnv,
    signal_aec,
    signal_vector,
)


@dataclass(frozen=True)
class Case:
    """An attack, and what the contract cannot know about it."""

    attack: Attack
    radius: float = math.inf
    active: float = 0.1
    random: bool = False
    discrete: int = 0


def value(observation, action):
    """Row by row the same bits in every batch, and the least value depends on both."""
    return action[:, 0] * observation[:, 0] - 2 * action[:, 1] + 0.1 * action[:, 0] ** 2


class Twins:
    """Two critics of different minds, who can be asked apart."""

    members = 2

    def __call__(self, observation, action=None, context=None):
        return torch.stack([value(observation, action), -value(observation, action) / 2])

    def apart(self, observation, action=None, context=None):
        first, second = (self(*(x.chunk(2)[i] for x in (observation, action)))[i] for i in range(2))
        return torch.cat([first, second])


def adversary(observation):
    return observation[:, :2].sin()


def by_state(clean, context):
    """Half the ball where the first feature is negative."""
    return torch.where(context["observation"][:, 0] < 0, 0.5, 1.0).double()


def choice(observation, action):
    return (action - 1) * observation[:, 0]


BALL, ANY = LinfBall(0.1), ActionSet(3)
COMMONLY = {
    **{name: Case(make(0.5)) for name, make in FAULTS.items()},
    "stuck": Case(FAULTS["stuck"](0.5), active=0.0),  # after a hundred steps
    "sticky": Case(FAULTS["sticky"](0.5), random=True),
    "dropout": Case(FAULTS["dropout"](0.5), random=True),
    "noise": Case(Noise(BALL), radius=0.1, active=1.0, random=True),
}
ACTIONS = {
    **COMMONLY,
    "vertex": Case(RandomVertex(BALL), radius=0.1, active=1.0, random=True),
    "worst action": Case(worst_action(value, within=BALL, steps=1, restarts=3), radius=0.1),
    "worst action of twins": Case(worst_action(Twins(), within=BALL, steps=1, restarts=1), radius=0.1),
    "corners": Case(Search(LowValue(critic=value), within=BALL, strategy=Corners()), radius=0.1),
    "cross-entropy": Case(
        Search(LowValue(critic=value), within=BALL, strategy=CrossEntropyMethod(2, 4, 2)), radius=0.1
    ),
    "by state": Case(PGD(LowValue(critic=value), within=Varying(BALL, by_state), steps=2), radius=0.1, active=0.05),
    "myopic (MAS)": Case(PGD(LowValue(critic=value), within=L2Ball(0.1), steps=2), radius=0.1),
    "over a horizon (LAS)": Case(PGD(LowValue(critic=value), within=OverHorizon(L2Ball(0.1), 2), steps=2), radius=0.1),
    "push": Case(Steered(adversary, Push(within=BALL), reads="observation"), radius=0.1),
    "noisy (NR-MDP)": Case(Steered(adversary, Overrule(0.25), reads="observation")),
    "probabilistic (PR-MDP)": Case(
        Steered(adversary, Gated(Overrule(), WithProbability(0.5)), reads="observation"), random=True
    ),
    **{
        f"{name}, discrete": Case(FAULTS[name](0.5), active=0.0 if name == "stuck" else 0.1, discrete=3)
        for name in ANY_ACTION
    },
    "noise, discrete": Case(Noise(ANY), random=True, discrete=3),
    "worst, discrete": Case(Search(LowValue(critic=choice), within=ANY), discrete=3),
    "second best, discrete": Case(
        Gated(Search(HighReward(critic=choice), within=ANY, rank=2), WithProbability(0.5)), active=0.05, discrete=3
    ),
}
MORE_ACTIONS = {
    "stuck in part": Case(Gated(Stuck(features=[0]), After(1))),
    "long delay": Case(Delay(2, initial=0.5)),
    "confined": Case(Confined(Delay(1), BALL), radius=0.1),
    "now and then": Case(Gated(RandomVertex(BALL), WithProbability(0.5)), radius=0.1, random=True),
    "learned": Case(Learned(adversary, within=BALL), radius=0.1),
}
OBSERVATIONS = {name: COMMONLY[name] for name in ("delay", "sticky", "dropout")}
MORE_OBSERVATIONS = {
    **COMMONLY,
    "low value": Case(PGD(LowValue(value=lambda seen: -seen[:, 0] * seen[:, 1]), within=BALL, steps=2), radius=0.1),
    "stuck in part": Case(Gated(Stuck(features=[0]), After(1))),
    "always stuck": Case(sticky(1.0)),
}


class Tried:
    """A contract with the attack of a case, on an environment with its actions."""

    def __init__(self, case, channel):
        self.case, self.channel = case, channel
        self.radius, self.active, self.random = case.radius, case.active, case.random

    def make_attack(self):
        return self.case.attack

    def wrap(self, env, attack):
        return self.channel(env, attack)

    def make_transform(self, attack):
        return getattr(transforms, self.channel.__name__)(attack)

    def make_single(self, row):
        return SignalEnv(discrete=self.case.discrete)


class Single(Tried):
    def make_env(self):
        return gym.make(SIGNAL, discrete=self.case.discrete)


class Vector(Tried):
    def make_env(self, autoreset):
        return signal_vector(len(HORIZONS), horizon=HORIZONS, autoreset=autoreset, discrete=self.case.discrete)

    def make_single(self, row):
        return SignalEnv(horizon=HORIZONS[row], discrete=self.case.discrete)


class Parallel(Tried):
    def make_env(self):
        return SignalParallelEnv(3, leaves=3, discrete=self.case.discrete)

    def make_single(self, row):
        return super().make_single(row) if row == 0 else None


class InTurns(Parallel):
    def make_env(self):
        return signal_aec(3, leaves=3, discrete=self.case.discrete)


class Rollout(Tried):
    def make_env(self):
        return SignalTorchRLEnv(rows=2, discrete=self.case.discrete)


FRAMEWORKS = {"Wrapper": Single, "Vector": Vector, "Parallel": Parallel, "AEC": InTurns, "Transform": Rollout}
CHANNELS = {"Action": AdversarialAction, "Observation": AdversarialObs}
FIRST = (
    "test_numbers_of_gymnasium",
    "test_the_environment_gets_the_executed_action",
    "test_only_the_observation_changes",
)
"""What an attack, rather than a wrapper, may break: the numbers, and in Gymnasium what they are."""


def contract(case, channel, framework):
    kind = type("Contract", (FRAMEWORKS[framework], getattr(testing, f"{channel}{framework}Contract")), {})
    return kind(case, CHANNELS[channel])


def rules_of(tried):
    return [rule for rule in dir(tried) if rule.startswith("test_") and getattr(tried, rule) is not None]


def keeps(tried, rule):
    method = getattr(tried, rule)
    method(*[0] * len(inspect.signature(method).parameters))  # the seed


def cases(actions, observations):
    named = [(name, case, "Action") for name, case in actions.items()]
    named += [(name, case, "Observation") for name, case in observations.items()]
    return [pytest.param(case, channel, id=f"{channel}-{name}") for name, case, channel in named]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("case", "channel"), cases(ACTIONS, OBSERVATIONS))
def test_attacks_keep_the_contracts(case, channel, framework):
    tried = contract(case, channel, framework)
    keeps(tried, next(rule for rule in FIRST if rule in rules_of(tried)))


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("case", "channel"), cases({**ACTIONS, **MORE_ACTIONS}, MORE_OBSERVATIONS))
def test_attacks_keep_every_rule_of_the_contracts(case, channel, framework):
    tried = contract(case, channel, framework)
    for rule in rules_of(tried):
        keeps(tried, rule)
