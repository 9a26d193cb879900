"""Every fault, and every attack that suites play on actions, keeps the contracts in all frameworks."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from advwrap import (
    FGSM,
    PGD,
    ActionSet,
    AdversarialAction,
    AdversarialObs,
    After,
    AtMost,
    Confined,
    Corners,
    CrossEntropyMethod,
    Delay,
    EveryNth,
    Gain,
    GapAbove,
    Gated,
    GaussianNoise,
    HighReward,
    Identity,
    L1Ball,
    L2Ball,
    Langevin,
    Learned,
    LinfBall,
    LowValue,
    Mixture,
    Noise,
    OnlyAgents,
    OverHorizon,
    RandomSearch,
    RandomVertex,
    Search,
    Square,
    Stuck,
    Varying,
    WholeEpisodes,
    WithProbability,
    Worst,
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
from advwrap.victims import Categorical


@dataclass(frozen=True)
class Episode:
    """What became of the actions (or observations) of one row or agent, [steps, features] each."""

    agent: int
    seen: np.ndarray
    clean: np.ndarray
    out: np.ndarray

    @property
    def step(self):
        return np.arange(len(self.clean))

    @property
    def moved(self):
        return (self.out != self.clean).any(1)


Promise = Callable[[Sequence[Episode]], bool]


def anything(episodes):
    return True


@dataclass(frozen=True)
class Case:
    """An attack, and what the contract cannot know about it.

    Without a promise of its own, a formula that is wrong alike in all frameworks would keep every rule. Some need more
    rounds of commands to show what they do now and then.
    """

    attack: Attack
    radius: float = math.inf
    active: float = 0.1
    random: bool = False
    discrete: int = 0
    rounds: int = 1
    promise: Promise = anything
    exact: bool = False


def value(observation, action):
    """Row by row the same bits in every batch, and the least value depends on both."""
    return 3 * action[:, 0] * observation[:, 0] - 2 * action[:, 1] + 0.1 * action[:, 0] ** 2


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
    """Half the ball where the last feature is negative."""
    return torch.where(context["observation"][:, 2] < 0, 0.5, 1.0).double()


def half_where_negative(episode):
    return (np.abs(episode.out - episode.clean) <= np.where(episode.seen[:, 2:] < 0, 0.05, 0.1) + 1e-6).all()


def choice(observation, action):
    return (action - 1) * observation[:, 0]


def logits(observation):
    return 2 * observation


def gap(observation):
    """Between the likeliest and the least likely action of `logits`."""
    p = np.exp(2 * observation) / np.exp(2 * observation).sum(1, keepdims=True)
    return p.max(1) - p.min(1)


def each(holds):
    return lambda episodes: all(holds(episode) for episode in episodes)


def both(*promises):
    return lambda episodes: all(promise(episodes) for promise in promises)


def executes(formula):
    return each(lambda episode: np.allclose(episode.out, formula(episode), rtol=0, atol=1e-6))


def sometimes(episodes):
    """Of the first step it says nothing: there, nothing can be stuck yet."""
    return {bool(moved) for episode in episodes for moved in episode.moved[1:]} == {True, False}


def replaced(formula):
    """Now and then, and then as a whole."""

    def so(episode):
        return (~episode.moved | np.isclose(episode.out, formula(episode), rtol=0, atol=1e-6).all(1)).all()

    return both(sometimes, each(so))


def whole(episodes):
    """All steps of some episodes, and none of the others."""
    return {frozenset(map(bool, episode.moved)) for episode in episodes} == {frozenset([True]), frozenset([False])}


def lowers(critic):
    """Never a better action than the intended one."""

    def worse(episode):
        seen, clean, out = map(torch.from_numpy, (episode.seen, episode.clean, episode.out))
        return (critic(seen, out) <= critic(seen, clean) + 1e-6).all()

    return each(worse)


def spends(power, steps):
    """No more than one ball in a window of so many steps."""

    def within(episode):
        spent = np.abs((episode.out - episode.clean) / 0.1) ** power
        return all(spent[i : i + steps].sum() <= 1 + 1e-5 for i in range(0, len(spent), steps))

    return each(within)


def late(rows, first):
    return np.concatenate([np.full_like(rows[:1], first), rows[:-1]])


def stuck(episode):
    """In its first feature, from step 1 on."""
    return np.concatenate([np.repeat(episode.clean[:1, :1], len(episode.clean), 0), episode.clean[:, 1:]], 1)


BALL, ANY = LinfBall(0.1), ActionSet(3)
LOW = LowValue(critic=value)


def exactly(attack, formula, **options):
    """What becomes of every number."""
    return Case(attack, promise=executes(formula), exact=True, **options)


def gated(budget, when):
    def halved(episode):
        return np.where(when(episode)[:, None], episode.clean / 2, episode.clean)

    return exactly(Gated(Gain(0.5), budget), halved)


def commonly(half_range):
    """Noise, and the faults with a radius that differs from what it leaves, 1 - 0.4."""
    rounded = 0.4 * half_range + 1e-6
    faults = {name: Case(make(0.4), radius=rounded, active=1.0) for name, make in FAULTS.items()}
    # As suites play it, it begins after a hundred steps, and no episode here is that long.
    early = replace(faults["stuck"].attack, budget=After(1))
    return {
        **faults,
        "saturated": replace(faults["saturated"], active=0.05),
        "delay": exactly(faults["delay"].attack, lambda episode: late(episode.clean, 0.0)),
        "stuck": exactly(early, stuck),
        "sticky": Case(
            faults["sticky"].attack,
            random=True,
            rounds=5,
            promise=replaced(lambda episode: late(episode.out, episode.clean[0])),
        ),
        "dropout": Case(
            faults["dropout"].attack,
            random=True,
            rounds=3,
            promise=each(lambda episode: ((episode.out == episode.clean) | (episode.out == 0)).all()),
        ),
        "noise": Case(Noise(BALL), radius=0.1, active=1.0, random=True),
    }


COMMONLY = commonly(1.0)
BUDGETS = {
    "after": gated(After(2), lambda episode: episode.step >= 2),
    "at most": gated(AtMost(2), lambda episode: episode.step < 2),
    "every second": gated(EveryNth(2, offset=1), lambda episode: episode.step % 2 == 1),
    "two budgets or one": gated(EveryNth(2) & AtMost(1) | After(4), lambda episode: episode.step % 4 == 0),
    "where the victim cares": gated(GapAbove(Categorical(logits), 0.5), lambda episode: gap(episode.seen) > 0.5),
    "only the first agent": gated(OnlyAgents(0), lambda episode: (episode.agent == 0) == (episode.step >= 0)),
    "now and then": Case(
        Gated(Noise(BALL), WithProbability(0.5)), radius=0.1, random=True, rounds=3, promise=sometimes
    ),
    "whole episodes": Case(Gated(Noise(BALL), WholeEpisodes(0.3)), radius=0.1, random=True, rounds=3, promise=whole),
}
ACTIONS = {
    **COMMONLY,
    **BUDGETS,
    "stuck altogether": exactly(
        Gated(Stuck(), After(1)), lambda episode: np.repeat(episode.clean[:1], len(episode.clean), 0)
    ),
    "long delay": exactly(Delay(2, initial=0.5), lambda episode: late(late(episode.clean, 0.5), 0.5)),
    "confined": exactly(
        Confined(Delay(1), BALL),
        lambda episode: late(episode.clean, 0.0).clip(episode.clean - 0.1, episode.clean + 0.1),
        radius=0.1,
    ),
    "identity": Case(Identity(), radius=0.0, active=0.0),
    "gaussian noise": Case(GaussianNoise(0.1, BALL), radius=0.1, active=1.0, random=True),
    "vertex": Case(RandomVertex(BALL), radius=0.1, active=1.0, random=True),
    "mixture": Case(
        Mixture((0.5, RandomVertex(BALL)), (0.5, Identity())), radius=0.1, random=True, rounds=3, promise=sometimes
    ),
    "worst of several": Case(
        Worst([Identity(), Noise(BALL), RandomVertex(BALL)], LOW), radius=0.1, random=True, promise=lowers(value)
    ),
    "worst action": Case(
        worst_action(value, within=BALL, steps=1, restarts=3), radius=0.1, active=1.0, promise=lowers(value)
    ),
    "worst action of twins": Case(
        worst_action(Twins(), within=BALL, steps=1, restarts=1),
        radius=0.1,
        promise=lowers(lambda seen, action: Twins()(seen, action).amin(0)),
    ),
    "corners": Case(Search(LOW, within=BALL, strategy=Corners()), radius=0.1, active=1.0, promise=lowers(value)),
    "square": Case(Search(LOW, within=BALL, strategy=Square(tries=3)), radius=0.1, random=True, promise=lowers(value)),
    "random search": Case(
        Search(LOW, within=BALL, strategy=RandomSearch(tries=3)), radius=0.1, random=True, promise=lowers(value)
    ),
    "cross-entropy": Case(
        Search(LOW, within=BALL, strategy=CrossEntropyMethod(2, 4, 2)), radius=0.1, random=True, promise=lowers(value)
    ),
    "FGSM": Case(FGSM(LOW, within=BALL), radius=0.1, active=1.0, promise=lowers(value)),
    "Langevin": Case(Langevin(LOW, within=BALL, steps=2), radius=0.1, active=1.0, random=True, promise=lowers(value)),
    "by state": Case(
        PGD(LOW, within=Varying(BALL, by_state), steps=2),
        radius=0.1,
        promise=both(lowers(value), each(half_where_negative)),
    ),
    "myopic (MAS)": Case(PGD(LOW, within=L2Ball(0.1), steps=2), radius=0.1, promise=both(lowers(value), spends(2, 1))),
    "over a horizon (LAS)": Case(
        PGD(LOW, within=OverHorizon(L2Ball(0.1), 2), steps=2), radius=0.1, promise=both(lowers(value), spends(2, 2))
    ),
    "over a horizon (LAS) in L1": Case(
        PGD(LOW, within=OverHorizon(L1Ball(0.1), 2), steps=2), radius=0.1, promise=both(lowers(value), spends(1, 2))
    ),
    "learned": exactly(
        Learned(adversary, within=BALL),
        lambda episode: (episode.clean + 0.1 * np.sin(episode.clean)).clip(-1, 1),
        radius=0.1,
    ),
    "push": exactly(
        Steered(adversary, Push(within=BALL), reads="observation"),
        lambda episode: (episode.clean + 0.1 * np.sin(episode.seen[:, :2])).clip(-1, 1),
        radius=0.1,
    ),
    "noisy (NR-MDP)": exactly(
        Steered(adversary, Overrule(0.25), reads="observation"),
        lambda episode: 0.75 * episode.clean + 0.25 * np.sin(episode.seen[:, :2]),
    ),
    "probabilistic (PR-MDP)": Case(
        Steered(adversary, Gated(Overrule(), WithProbability(0.5)), reads="observation"),
        random=True,
        rounds=3,
        promise=replaced(lambda episode: np.sin(episode.seen[:, :2])),
    ),
    **{f"{name}, discrete": replace(COMMONLY[name], active=0.05, discrete=3, random=False) for name in ANY_ACTION},
    "noise, discrete": Case(Noise(ANY), random=True, discrete=3),
    "worst, discrete": Case(
        Search(LowValue(critic=choice), within=ANY),
        discrete=3,
        promise=lowers(lambda seen, action: choice(seen, action[:, 0])),
    ),
    "second best, discrete": Case(
        Gated(Search(HighReward(critic=choice), within=ANY, rank=2), WithProbability(0.5)),
        active=0.05,
        discrete=3,
        rounds=3,
        promise=replaced(lambda episode: np.ones_like(episode.out)),
    ),
}
OBSERVATIONS = {name: COMMONLY[name] for name in ("delay", "sticky", "dropout", "stuck")}
MORE_OBSERVATIONS = {
    **commonly(2.0),
    "low value": Case(PGD(LowValue(value=lambda seen: -seen[:, 0] * seen[:, 1]), within=BALL, steps=2), radius=0.1),
    "always stuck": Case(sticky(1.0)),
}


class Tried:
    """A contract with the attack of a case, on an environment with its actions."""

    def __init__(self, case, channel):
        self.case, self.channel = case, channel
        self.radius, self.active, self.random = case.radius, case.active, case.random

    def _commands(self, env, seed):
        return [[*own] * self.case.rounds for own in super()._commands(env, seed)]

    def _check_moves(self, histories):
        """As every attack, and as this one in particular."""
        super()._check_moves(histories)
        episodes = [
            Episode(self.agent(row), *self.told(steps))
            for row, history in enumerate(histories)
            for steps in history.episodes
            if self._carried(steps)
        ]
        assert self.case.promise(episodes), f"what is executed must be what was promised, got {episodes}."

    def told(self, steps):
        carried = self._carried(steps)
        seen = [step.observation for step in steps[: len(carried)]]
        return [np.asarray(rows).reshape(len(carried), -1) for rows in (seen, *zip(*carried, strict=True))]

    def agent(self, row):
        return 0

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
    def agent(self, row):
        return row

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


def first(tried):
    """An exact promise says more than one agent's numbers, which is all that Gymnasium has."""
    return next(rule for rule in FIRST[tried.case.exact :] if rule in rules_of(tried))


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
    keeps(tried, first(tried))


def in_turn():
    """Every rule of every framework, with the attack that has waited longest of those that it asks something."""
    for channel, attacks in (("Action", ACTIONS), ("Observation", MORE_OBSERVATIONS)):
        waiting = [*attacks]
        for framework in FRAMEWORKS:
            for rule in rules_of(contract(Case(Identity()), channel, framework)):
                name = next(name for name in waiting if asks(rule, attacks[name]))
                waiting.append(waiting.pop(waiting.index(name)))
                yield pytest.param(attacks[name], channel, framework, rule, id=f"{channel}{framework}-{rule}-{name}")


def asks(rule, case):
    """What draws nothing cannot draw alike, and indices have no ball and are never NaN."""
    numbers = "test_executed_actions_are_in_the_space", "test_broken_action_is_refused"
    return (case.random or rule != "test_rows_draw_their_own_numbers") and not (case.discrete and rule in numbers)


@pytest.mark.parametrize(("case", "channel", "framework", "rule"), [*in_turn()])
def test_every_rule_is_kept_in_turn(case, channel, framework, rule):
    keeps(contract(case, channel, framework), rule)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("case", "channel"), cases(ACTIONS, MORE_OBSERVATIONS))
def test_attacks_keep_every_rule_of_the_contracts(case, channel, framework):
    tried = contract(case, channel, framework)
    for rule in rules_of(tried):
        keeps(tried, rule)
