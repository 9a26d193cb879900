"""The attacks that the commands evaluate: one from each family, by what the attacker must know."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advwrap.attacks import PGD, Attack, Noise, Search, Square
from advwrap.objectives import ActionShift, LowValue
from advwrap.sets import LinfBall
from advwrap.training import TrainedAgent

SUITE: Mapping[str, Callable[[TrainedAgent, float], Attack]] = {
    "noise": lambda agent, eps: Noise(LinfBall(eps)),
    "MAD": lambda agent, eps: PGD(ActionShift(agent.policy), within=LinfBall(eps), steps=10),
    "PGD on Q": lambda agent, eps: PGD(LowValue(agent.policy, agent.critic), within=LinfBall(eps), steps=10),
    "black box": lambda agent, eps: Search(ActionShift(agent.act), within=LinfBall(eps), strategy=Square(tries=32)),
}
"""Knows nothing; the policy's gradient; the policy's and the critics' gradients; only the policy's answers."""
