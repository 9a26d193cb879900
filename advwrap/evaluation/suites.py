"""Suites: the attacks that a table has columns for, made from a trained agent and a radius."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import torch

from advwrap.algorithms import PPO, SAC
from advwrap.attacks import PGD, Attack, Langevin, Noise, Search, Square
from advwrap.errors import check
from advwrap.evaluation.attackers import Learns
from advwrap.evaluation.rollouts import evaluate
from advwrap.evaluation.scan import scan_attackers
from advwrap.losses import SarsaTraining, lowest_over_scan, sarsa_batches, scan_robust_sarsa
from advwrap.objectives import ActionShift, LowValue
from advwrap.sets import LinfBall
from advwrap.training import KINDS, ReturnScale, TrainedAgent
from advwrap.wrappers import PAAD, SARL, AttackerKind

AttackMaker: TypeAlias = Callable[[TrainedAgent, float], Attack]
"""From an agent and a radius to the attack on this agent; it may train for hours."""

SELECTION_SEED = 500_000
"""Reset seeds for choosing the strongest of several attackers, far from those of any evaluation."""


class Suite(Protocol):
    """Attacks by the name of their column. Its `repr` says everything that can change a result."""

    def attacks(self, agent: TrainedAgent) -> Mapping[str, AttackMaker]:
        """The attacks that this agent can be attacked with."""
        ...


@dataclass(frozen=True)
class GradientSuite:
    """One attack from each family, by what the attacker must know; nothing is trained.

    Nothing; the policy's gradient; the policy's and the critics' gradients; only the policy's answers.

    Example:
        >>> GradientSuite()
        GradientSuite()
    """

    def attacks(self, agent: TrainedAgent) -> Mapping[str, AttackMaker]:
        """The four."""
        return {
            "noise": lambda agent, eps: Noise(LinfBall(eps)),
            "MAD": lambda agent, eps: PGD(ActionShift(agent.policy), within=LinfBall(eps), steps=10),
            "PGD on Q" if agent.kind.values_actions else "PGD on V": low_value,
            "black box": lambda agent, eps: Search(
                ActionShift(agent.act), within=LinfBall(eps), strategy=Square(tries=32)
            ),
        }


LEARNED: Mapping[str, tuple[AttackerKind, str]] = {
    "SA-RL (SAC)": (SARL(), "sac"),
    "PA-AD (SAC)": (PAAD(), "sac"),
    "SA-RL (PPO)": (SARL(), "ppo"),
    "PA-AD (PPO)": (PAAD(), "ppo"),
}
"""The learned attackers: what is learned, and by which algorithm."""


@dataclass(frozen=True)
class ObservationSuite:
    """The columns of VALT's Table 1: three heuristics, robust Sarsa, and learned attackers.

    MAD is ten steps of Langevin dynamics on the shift of the action, PGD ten steps on the mean of the critics from a
    random start. Of a scan of robust Sarsa critics, and of the attackers that are trained with several settings, the
    strongest on `selection` episodes of their own is the one that counts.

    Source: VALT, section 5.2 and appendix D.3. The paper scans about seventy PPO attackers and four SAC attackers per
        agent, and takes the worst on the episodes that it reports; one of each is the default here, and whoever scans
        more is chosen on other episodes.

    Args:
        learned: Names of `LEARNED` attackers to train.
        ppo: Settings that the PPO attackers are trained with, each.
        sac: Settings that the SAC attackers are trained with, each.
        sarsa: How robust Sarsa critics are trained.
        sarsa_eps: Radii of the scan over their bounds.
        sarsa_reg: Weights of the scan over their regulariser.
        selection: Episodes that choose the strongest.

    Example:
        >>> ObservationSuite(learned=["SA-RL"])
        Traceback (most recent call last):
        ...
        ValueError: `learned` must be among SA-RL (SAC), PA-AD (SAC), SA-RL (PPO), PA-AD (PPO), got SA-RL.
    """

    learned: Sequence[str] = tuple(LEARNED)
    ppo: Sequence[PPO] = (PPO(steps=300_000, learning_rate=1e-3, initial_std=0.5, compile=True),)
    sac: Sequence[SAC] = (SAC("", steps=50_000, reward_scale=0.1, compile=True),)
    sarsa: SarsaTraining = field(default_factory=SarsaTraining)
    sarsa_eps: Sequence[float] = (0.05, 0.15, 0.3)
    sarsa_reg: Sequence[float] = (0.3, 1.0, 3.0)
    selection: int = 10

    def __post_init__(self) -> None:
        unknown = [name for name in self.learned if name not in LEARNED]
        check(not unknown, f"`learned` must be among {', '.join(LEARNED)}, got {', '.join(unknown)}.")

    def attacks(self, agent: TrainedAgent) -> Mapping[str, AttackMaker]:
        """All of them; robust Sarsa only against continuous actions."""
        heuristics: dict[str, AttackMaker] = {
            "uniform": lambda agent, eps: Noise(LinfBall(eps)),
            "MAD": lambda agent, eps: Langevin(ActionShift(agent.policy), within=LinfBall(eps), steps=10),
            "PGD": low_value,
        }
        if agent.kind is not KINDS["categorical"]:
            heuristics["RS"] = self.robust_sarsa
        return heuristics | {name: partial(self.trained, name=name) for name in self.learned}

    def robust_sarsa(self, agent: TrainedAgent, epsilon: float) -> Attack:
        """PGD on the robust Sarsa critic that hurts most, of the scan."""
        within = LinfBall(epsilon)

        def attack(critic: torch.nn.Module) -> Attack:
            objective = LowValue(agent.policy, critic)
            return PGD(objective, within=within, steps=10, step_size=0.1, random_start=0.1)

        def harm(critic: torch.nn.Module) -> float:
            return _chosen_by(agent, attack(critic), episodes=self.selection)

        batches = sarsa_batches(
            agent.make_env, agent.policy, num_envs=8, reward_scale=1 / _return_std(agent), reward_limit=10.0
        )
        critics = scan_robust_sarsa(batches, eps=self.sarsa_eps, reg=self.sarsa_reg, training=self.sarsa)
        return attack(critics[lowest_over_scan(critics, harm).settings])

    def trained(self, agent: TrainedAgent, epsilon: float, *, name: str) -> Attack:
        """The strongest attacker of its name."""
        kind, algorithm = LEARNED[name]
        algorithms: Sequence[Learns] = self.ppo if algorithm == "ppo" else self.sac
        scan = scan_attackers(
            agent.policy,
            agent.make_env,
            within=LinfBall(epsilon),
            kinds=(kind,),
            algorithms=algorithms,
            episodes=self.selection,
            seed=SELECTION_SEED,
        )
        return scan.best.attacker.attack


def low_value(agent: TrainedAgent, epsilon: float) -> Attack:
    """PGD with ten steps down the mean of the agent's own critics: min Q, or min V where it learned V."""
    return PGD(agent.low_value, within=LinfBall(epsilon), steps=10)


def _chosen_by(agent: TrainedAgent, attack: Attack, *, episodes: int) -> float:
    cell = evaluate(
        agent.act, agent.make_env, attack, episodes=episodes, seed=SELECTION_SEED, advance=lambda ended: None
    )
    return cell.mean_return


def _return_std(agent: TrainedAgent) -> float:
    """The standard deviation of the discounted return while the agent plays: the unit of the Sarsa critics."""
    batch = next(sarsa_batches(agent.make_env, agent.policy, num_envs=8, seed=1))
    scale = ReturnScale(8, gamma=0.99)
    # [time * rows] in the order of time -> [rows, time, 1]
    reward, done = (batch["next", name].reshape(-1, 8, 1).transpose(0, 1) for name in ("reward", "done"))
    scale(reward, done)
    return scale.std
