"""From a trained agent and a radius to an attack on it: what the columns of a table are made by.

Each is a frozen dataclass whose `repr` says all that can change a number, so that a result can be kept under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from torch import nn

from advwrap.attacks import PGD, Attack, Langevin, Noise, Search, Square
from advwrap.evaluation.attackers import Learns
from advwrap.evaluation.scan import scan_attackers
from advwrap.evaluation.selection import SELECTION_SEED, mean_return
from advwrap.losses import RobustSarsa, SarsaTraining, ShuffledSarsa, sarsa_batches, scan_robust_sarsa
from advwrap.objectives import ActionShift, LowValue
from advwrap.sets import LinfBall
from advwrap.training import ReturnScale, TrainedAgent
from advwrap.wrappers import AttackerKind


class AttackMaker(Protocol):
    """Makes the attack on an agent; it may train for hours."""

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """The attack in an L-infinity ball of this radius, in units of the normalised observation."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Uniform noise: knows nothing.

    Example:
        >>> Uniform()
        Uniform()
    """

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """`Noise`."""
        return Noise(LinfBall(epsilon))


@dataclass(frozen=True)
class LargestShift:
    """PGD on the shift of the action: knows the policy's gradient.

    Args:
        steps: Gradients.
        langevin: Whether with the noise of the reference code (SGLD).

    Example:
        >>> LargestShift(langevin=True)
        LargestShift(steps=10, langevin=True)
    """

    steps: int = 10
    langevin: bool = False

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """`PGD` or `Langevin`."""
        kind = Langevin if self.langevin else PGD
        return kind(ActionShift(agent.policy), within=LinfBall(epsilon), steps=self.steps)


@dataclass(frozen=True)
class LowestValue:
    """PGD down the mean of the agent's own critics, from a random start: min Q, or min V where it learned V.

    Args:
        steps: Gradients from each start.
        restarts: Starts; the lowest value of all iterates counts where there are more than one.

    Example:
        >>> LowestValue(steps=20)
        LowestValue(steps=20, restarts=1)
    """

    steps: int = 10
    restarts: int = 1

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """`PGD`."""
        several = self.restarts > 1
        return PGD(agent.low_value, within=LinfBall(epsilon), steps=self.steps, restarts=self.restarts, best=several)


@dataclass(frozen=True)
class BlackBox:
    """A search for the largest shift of the action, of discrete ones of their probabilities: knows only the answers.

    Args:
        tries: Queries per step of the environment.

    Example:
        >>> BlackBox().tries
        32
    """

    tries: int = 32

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """`Search`."""
        answers = agent.policy if agent.discrete else agent.act
        return Search(ActionShift(answers), within=LinfBall(epsilon), strategy=Square(tries=self.tries))


@dataclass(frozen=True)
class RobustSarsaScan:
    """PGD on the robust Sarsa critic under which the agent returns least, of a scan.

    Source: Zhang et al. 2020; VALT, appendix D.3. Neither the correct critic nor that of the published tables is always
        the stronger guide, so the scan has both.

    Args:
        training: How the critics are trained.
        eps: Radii of the scan over their bounds.
        reg: Weights of the scan over their regulariser.
        kinds: Losses of the scan.
        selection: Episodes that choose the strongest, others than those of an evaluation.

    Example:
        >>> len(RobustSarsaScan().kinds)
        2
    """

    training: SarsaTraining = field(default_factory=SarsaTraining)
    eps: Sequence[float] = (0.05, 0.2)
    reg: Sequence[float] = (0.3, 3.0)
    kinds: Sequence[type[RobustSarsa]] = (RobustSarsa, ShuffledSarsa)
    selection: int = 10

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """Train, choose."""

        def attack(critic: nn.Module) -> Attack:
            objective = LowValue(agent.policy, critic)
            return PGD(objective, within=LinfBall(epsilon), steps=10, step_size=0.1, random_start=0.1)

        def scan(kind: type[RobustSarsa]) -> Iterable[nn.Module]:
            return scan_robust_sarsa(batches, eps=self.eps, reg=self.reg, kind=kind, training=self.training).values()

        unit = 1 / return_std(agent)
        played = sarsa_batches(agent.make_env, agent.policy, num_envs=8, reward_scale=unit, reward_limit=10.0)
        batches = list(islice(played, self.training.iterations))  # the agent plays once for both kinds
        attacks = [attack(critic) for kind in self.kinds for critic in scan(kind)]
        return min(attacks, key=lambda attack: mean_return(agent, attack, episodes=self.selection))


@dataclass(frozen=True)
class LearnedScan:
    """The strongest of the attackers that are trained against the agent.

    Args:
        kind: What they learn: `SARL()` or `PAAD()`.
        algorithms: With which settings, one attacker each.
        selection: Episodes that choose the strongest, others than those of an evaluation.

    Example:
        >>> from advwrap.algorithms import PPO
        >>> from advwrap.evaluation import grid
        >>> from advwrap.wrappers import SARL
        >>> len(LearnedScan(SARL(), grid(PPO(steps=300_000), seed=range(4))).algorithms)
        4
    """

    kind: AttackerKind
    algorithms: Sequence[Learns]
    selection: int = 10

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """Train, choose."""
        scan = scan_attackers(
            agent.policy,
            agent.make_env,
            within=LinfBall(epsilon),
            kinds=(self.kind,),
            algorithms=self.algorithms,
            episodes=self.selection,
            seed=SELECTION_SEED,
            player=agent.act,
        )
        return scan.best.attacker.attack


def return_std(agent: TrainedAgent) -> float:
    """The standard deviation of the discounted return while the agent plays: the unit of the Sarsa critics."""
    batch = next(sarsa_batches(agent.make_env, agent.policy, num_envs=8, seed=1))
    scale = ReturnScale(8, gamma=0.99)
    # [time * rows] in the order of time -> [rows, time, 1]
    reward, done = (batch["next", name].reshape(-1, 8, 1).transpose(0, 1) for name in ("reward", "done"))
    scale(reward, done)
    return scale.std
