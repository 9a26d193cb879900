"""Short measurements that choose: the best weights of a training, the strongest of several attackers."""

from __future__ import annotations

from advwrap.attacks import Attack
from advwrap.evaluation.rollouts import Channel, evaluate
from advwrap.training import TrainedAgent
from advwrap.wrappers import AdversarialObs

SELECTION_SEED = 500_000
"""Reset seeds for choosing, far from those of any evaluation."""


def mean_return(
    agent: TrainedAgent, attack: Attack | None = None, *, episodes: int = 10, channel: Channel = AdversarialObs
) -> float:
    """The mean return over a few episodes, without a progress bar."""
    cell = evaluate(
        agent.act,
        agent.make_env,
        attack,
        episodes=episodes,
        seed=SELECTION_SEED,
        channel=channel,
        advance=lambda ended: None,
    )
    return cell.mean_return
