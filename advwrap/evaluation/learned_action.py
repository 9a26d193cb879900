"""Makers of learned adversaries of actions: what they command, which training, and the strongest of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from advwrap.attacks import Attack
from advwrap.errors import check
from advwrap.evaluation.action_makers import action_ball
from advwrap.evaluation.attackers import Learns
from advwrap.evaluation.scan import scan_attackers
from advwrap.evaluation.selection import SELECTION_SEED
from advwrap.training import TrainedAgent
from advwrap.wrappers import ActionAdversary, AttackerKind, NoisyAdversary, ProbabilisticAdversary


@dataclass(frozen=True)
class LearnedAction:
    """The strongest of the adversaries that are trained to share the agent's actuators.

    Args:
        game: What they command: "push", a perturbation in the ball (as in RARL); "noisy", a share of every action
            (NR-MDP); "probabilistic", some actions (PR-MDP). The share is the radius.
        algorithms: With which settings, one adversary each.
        selection: Episodes that choose the strongest.

    Example:
        >>> from advwrap.algorithms import SAC
        >>> LearnedAction("push", (SAC("", steps=50_000),)).game
        'push'
    """

    game: str
    algorithms: Sequence[Learns]
    selection: int = 10

    def __post_init__(self) -> None:
        check(self.game in ADVERSARIES, f"`game` must be one of {', '.join(ADVERSARIES)}, got {self.game!r}.")

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """Train, choose."""
        scan = scan_attackers(
            agent.policy,
            agent.make_env,
            within=action_ball(agent, epsilon),
            kinds=(ADVERSARIES[self.game](epsilon),),
            algorithms=self.algorithms,
            episodes=self.selection,
            seed=SELECTION_SEED,
            player=agent.act,
        )
        return scan.best.attacker.attack


ADVERSARIES: Mapping[str, Callable[[float], AttackerKind]] = {
    "push": lambda epsilon: ActionAdversary(),
    "noisy": NoisyAdversary,
    "probabilistic": ProbabilisticAdversary,
}
"""What a learned adversary commands, by the radius."""
