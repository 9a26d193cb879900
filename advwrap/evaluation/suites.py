"""Suites: the attacks that a table has columns for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from advwrap.algorithms import PPO, SAC
from advwrap.errors import check
from advwrap.evaluation.action_makers import (
    LowestAction,
    LowestRobustAction,
    OwnRobustAction,
    ReplacedAction,
    UniformAction,
    VertexAction,
)
from advwrap.evaluation.attack_makers import (
    AttackMaker,
    BlackBox,
    LargestShift,
    LearnedScan,
    LowestValue,
    RobustSarsaScan,
    Uniform,
)
from advwrap.evaluation.attackers import Learns
from advwrap.evaluation.fault_makers import ANY_ACTION, FAULTS, Fault
from advwrap.evaluation.learned_action import ADVERSARIES, LearnedAction
from advwrap.training import TrainedAgent
from advwrap.wrappers import PAAD, SARL, AdversarialAction, AttackerKind


class Suite(Protocol):
    """Makers of attacks by the name of their column.

    They perturb observations, or, where the suite has a `channel`, what that does:
    ``channel = staticmethod(AdversarialAction)``.
    """

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """Those that this agent can be attacked with. The `repr` of a maker must say all that can change a number."""
        ...


@dataclass(frozen=True)
class GradientSuite:
    """One attack from each family, by what the attacker must know; nothing is trained.

    Nothing; the policy's gradient; the policy's and the critics' gradients; only the policy's answers.

    Example:
        >>> GradientSuite()
        GradientSuite()
    """

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """The four."""
        value = "PGD on Q" if agent.kind.values_actions else "PGD on V"
        return {"noise": Uniform(), "MAD": LargestShift(), value: LowestValue(), "black box": BlackBox()}


LEARNED: Mapping[str, tuple[AttackerKind, str]] = {
    "SA-RL (SAC)": (SARL(), "sac"),
    "PA-AD (SAC)": (PAAD(), "sac"),
    "SA-RL (PPO)": (SARL(), "ppo"),
    "PA-AD (PPO)": (PAAD(), "ppo"),
}
"""The learned attackers: what is learned, and by which algorithm."""


@dataclass(frozen=True)
class ObservationSuite:
    """The columns of VALT's Table 1, and one more: heuristics, robust Sarsa, and learned attackers.

    MAD is ten steps of Langevin dynamics on the shift of the action, with noise that is small beside the gradient of a
    plain policy and large beside that of a robust one. PGD is ten steps on the mean of the critics, the last iterate
    from one random start; "PGD x4", ours, the best iterate from four. Both step by a quarter of the radius and start
    anywhere in the ball, where the reference of the papers steps by a tenth and starts within a step. Learned attackers
    of one column are trained one after the other; `scan_attackers` with an executor trains a scan side by side.

    Source: VALT, section 5.2 and appendix D.3. The paper scans about seventy PPO attackers and four SAC attackers per
        agent, and takes the worst on the episodes that it reports; one of each is the default here, and where there
        are more, the strongest is chosen on other episodes. Its SAC attackers have the numbers of its agents (2 x 256
        units, learning rate 3e-4); the default here is smaller and learns faster, to be done in 50 000 steps. Of robust
        Sarsa there are two radii, two weights and two losses, eight critics, where the papers scan thirty settings.

    Args:
        learned: Names of `LEARNED` attackers to train.
        ppo: Settings that the PPO attackers are trained with, each.
        sac: Settings that the SAC attackers are trained with, each.
        sarsa: The scan of robust Sarsa critics.
        selection: Episodes that choose the strongest learned attacker.

    Example:
        >>> ObservationSuite(learned=["SA-RL"])
        Traceback (most recent call last):
        ...
        ValueError: `learned` must be among SA-RL (SAC), PA-AD (SAC), SA-RL (PPO), PA-AD (PPO), got SA-RL.
    """

    learned: Sequence[str] = tuple(LEARNED)
    ppo: Sequence[PPO] = (PPO(steps=300_000, learning_rate=1e-3, initial_std=0.5, compile=True),)
    sac: Sequence[SAC] = (SAC("", steps=50_000, reward_scale=0.1, compile=True),)
    sarsa: RobustSarsaScan = field(default_factory=RobustSarsaScan)
    selection: int = 10

    def __post_init__(self) -> None:
        unknown = [name for name in self.learned if name not in LEARNED]
        check(not unknown, f"`learned` must be among {', '.join(LEARNED)}, got {', '.join(unknown)}.")

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """All of them; robust Sarsa only against continuous actions."""
        found: dict[str, AttackMaker] = {
            "uniform": Uniform(),
            "MAD": LargestShift(langevin=True),
            "PGD": LowestValue(),
            "PGD x4": LowestValue(restarts=4),
        }
        if not agent.discrete:
            found["RS"] = self.sarsa
        for name in self.learned:
            kind, algorithm = LEARNED[name]
            algorithms: Sequence[Learns] = self.ppo if algorithm == "ppo" else self.sac
            found[name] = LearnedScan(kind, tuple(algorithms), self.selection)
        return found


@dataclass(frozen=True)
class ActionSuite:
    """Attacks on executed actions in one ball: two that know nothing, two searches, and a learned adversary.

    "random" is uniform, "random vertex" as large as possible, Min-Q the worst action by the agent's own critics (by
    fitted ones, where it has none of actions), Min-OA-Q by critics that are fitted to it and expect the adversary to go
    on, "own Min-OA-Q" by those that it was trained with, if it was (OA-PI), "push" what reinforcement learning finds.

    Source: OA-PI, arXiv 2507.03372 (Random, Biggest, Min-Q, Min-OA-Q).

    Args:
        learned: Adversaries to train, each of which stays in the ball: "push" or none.
        sac: Settings that they are trained with, each.
        nominal: How Min-Q is searched, and fitted where it must be.
        robust: How Min-OA-Q is fitted and searched.
        selection: Episodes that choose the strongest adversary.

    Example:
        >>> ActionSuite(learned=["noisy"])
        Traceback (most recent call last):
        ...
        ValueError: `learned` must be among push, got noisy. Fix: GameSuite() has those that may leave the ball.
    """

    learned: Sequence[str] = ("push",)
    sac: Sequence[SAC] = (SAC("", steps=50_000, compile=True),)
    nominal: LowestAction = field(default_factory=LowestAction)
    robust: LowestRobustAction = field(default_factory=LowestRobustAction)
    selection: int = 10

    channel = staticmethod(AdversarialAction)

    def __post_init__(self) -> None:
        unknown = [name for name in self.learned if name != "push"]
        check(
            not unknown,
            f"`learned` must be among push, got {', '.join(unknown)}.",
            fix="GameSuite() has those that may leave the ball.",
        )

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """All of them.

        Discrete actions have no ball: a random action, the second best or the worst one is executed instead, with the
        radius as probability.
        """
        if agent.discrete:
            by = {"random": "random", "second best": "second best", "Min-Q": "worst"}
            return {column: ReplacedAction(what) for column, what in by.items()}
        known: dict[str, AttackMaker] = {
            "random": UniformAction(),
            "random vertex": VertexAction(),
            "Min-Q": self.nominal,
            "Min-OA-Q": self.robust,
        }
        if agent.robust_critics:
            known["own Min-OA-Q"] = OwnRobustAction(self.robust.steps, self.robust.restarts)
        return known | dict(_learned(self.learned, self.sac, self.selection))


@dataclass(frozen=True)
class GameSuite:
    """The adversaries of NR-MDP and PR-MDP, trained against the frozen agent; the radius is their share.

    They may leave the ball of that radius, so they are no part of a worst case in it.

    Source: Tessler, Efroni, Mannor, ICML 2019.

    Args:
        games: "noisy" (a share of every action), "probabilistic" (a share of the steps).
        sac: Settings that they are trained with, each.
        selection: Episodes that choose the strongest adversary.

    Example:
        >>> GameSuite().games
        ('noisy', 'probabilistic')
    """

    games: Sequence[str] = ("noisy", "probabilistic")
    sac: Sequence[SAC] = (SAC("", steps=50_000, compile=True),)
    selection: int = 10

    channel = staticmethod(AdversarialAction)

    def __post_init__(self) -> None:
        unknown = [name for name in self.games if name not in ADVERSARIES]
        check(not unknown, f"`games` must be among {', '.join(ADVERSARIES)}, got {', '.join(unknown)}.")

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """Each.

        Raises:
            ValueError: If the agent's actions are discrete.
        """
        check(not agent.discrete, "`agent` must have continuous actions, got discrete ones.")
        return _learned(self.games, self.sac, self.selection)


def _learned(games: Sequence[str], sac: Sequence[SAC], selection: int) -> Mapping[str, AttackMaker]:
    return {f"{game} (SAC)": LearnedAction(game, tuple(sac), selection) for game in games}


@dataclass(frozen=True)
class FaultSuite:
    """Faults of the actuators, none of which searches.

    Args:
        faults: Names of `FAULTS`.

    Example:
        >>> FaultSuite(["delay", "gain"]).faults
        ['delay', 'gain']
    """

    faults: Sequence[str] = tuple(FAULTS)

    channel = staticmethod(AdversarialAction)

    def __post_init__(self) -> None:
        unknown = [name for name in self.faults if name not in FAULTS]
        check(not unknown, f"`faults` must be among {', '.join(FAULTS)}, got {', '.join(unknown)}.")

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """One column for each; of discrete actions for each that they can have."""
        some = ANY_ACTION if agent.discrete else tuple(FAULTS)
        return {name: Fault(name) for name in self.faults if name in some}
