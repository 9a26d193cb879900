"""SA-RL and PA-AD as kinds: what a learned attacker's action means, where it trains and where it strikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from advwrap.attacks import Attack, Learned, Steered, policy_direction
from advwrap.sets import PerturbationSet
from advwrap.victims import AnyPolicy, Policy
from advwrap.wrappers.attackers import PAADAttacker, SARLAttacker


class AttackerKind(Protocol):
    """What the attacker's action means: the environment it trains in, and the attack that it then is."""

    def around(self, env: Any, victim: Policy, *, within: PerturbationSet, stochastic: bool) -> Any:
        """The task as the attacker meets it; the same kind of environment comes back."""
        ...

    def attack(self, adversary: AnyPolicy, victim: Policy, *, within: PerturbationSet, sample: bool = False) -> Attack:
        """The attack of an adversary, by its mean action or (`sample`) by a random one."""
        ...


@dataclass(frozen=True)
class SARL:
    """The perturbation itself is learned (Zhang et al., ICLR 2021). See `advwrap.wrappers.SARLAttacker`.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> from advwrap.victims import as_policy
        >>> attack = SARL().attack(torch.ones_like, as_policy(torch.sin), within=LinfBall(0.1))
        >>> attack(torch.zeros(1, 2))
        tensor([[0.1000, 0.1000]])
    """

    def around(self, env: Any, victim: Policy, *, within: PerturbationSet, stochastic: bool) -> Any:
        """The task with perturbations as actions."""
        return SARLAttacker(env, victim, within=within, stochastic=stochastic)

    def attack(self, adversary: AnyPolicy, victim: Policy, *, within: PerturbationSet, sample: bool = False) -> Attack:
        """`Learned`."""
        return Learned(adversary, within=within, sample=sample)


@dataclass(frozen=True)
class PAAD:
    """A direction of the victim's action is learned (Sun et al., ICLR 2022). See `advwrap.wrappers.PAADAttacker`.

    Args:
        steps: Gradients of the generator.
        reference_sign: Whether the generator pushes against the director, as the reference code does.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> from advwrap.victims import as_policy
        >>> director = lambda observation: torch.ones(len(observation), 2)
        >>> attack = PAAD().attack(director, as_policy(torch.sin), within=LinfBall(0.1))
        >>> type(attack).__name__, attack(torch.zeros(4, 2)).abs().max()
        ('Steered', tensor(0.1000))
    """

    steps: int = 1
    reference_sign: bool = False

    def around(self, env: Any, victim: Policy, *, within: PerturbationSet, stochastic: bool) -> Any:
        """The task with directions as actions."""
        return PAADAttacker(
            env,
            victim,
            within=within,
            steps=self.steps,
            reference_sign=self.reference_sign,
            stochastic=stochastic,
        )

    def attack(self, adversary: AnyPolicy, victim: Policy, *, within: PerturbationSet, sample: bool = False) -> Attack:
        """`Steered`."""
        generator = policy_direction(victim, within=within, steps=self.steps, reference_sign=self.reference_sign)
        return Steered(adversary, generator, sample=sample)
