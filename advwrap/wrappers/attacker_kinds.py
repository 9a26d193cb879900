"""SA-RL, PA-AD, adversaries of actions: what a learned attacker's action means, where it trains, where it strikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from advwrap.attacks import Attack, Gated, Learned, Overrule, Push, Steered, WithProbability, policy_direction
from advwrap.sets import PerturbationSet
from advwrap.victims import AnyPolicy, Policy
from advwrap.wrappers.attackers import ActionAttacker, PAADAttacker, SARLAttacker
from advwrap.wrappers.dispatch import AdversarialAction, AdversarialObs


class AttackerKind(Protocol):
    """What the attacker's action means: the environment it trains in, and the attack that it then is."""

    @property
    def channel(self) -> Callable[..., Any]:
        """Where the attack strikes: `AdversarialObs` or `AdversarialAction`."""
        ...

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

    channel = staticmethod(AdversarialObs)

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

    channel = staticmethod(AdversarialObs)

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


@dataclass(frozen=True)
class ActionAdversary:
    """A perturbation of the victim's actions is learned (as in RARL). See `advwrap.wrappers.ActionAttacker`.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> from advwrap.victims import as_policy
        >>> attack = ActionAdversary().attack(lambda s: s[:, :1], as_policy(torch.sin), within=LinfBall(0.1))
        >>> attack(torch.zeros(1, 1), context={"observation": torch.ones(1, 3)})
        tensor([[0.1000]])
    """

    channel = staticmethod(AdversarialAction)

    def commanded(self, within: PerturbationSet) -> Attack:
        """`Push`."""
        return Push(within=within)

    def around(self, env: Any, victim: Policy, *, within: PerturbationSet, stochastic: bool) -> Any:
        """The task with perturbations of actions as actions."""
        return ActionAttacker(env, victim, attack=self.commanded(within), stochastic=stochastic)

    def attack(self, adversary: AnyPolicy, victim: Policy, *, within: PerturbationSet, sample: bool = False) -> Attack:
        """`Steered`, by the observation."""
        return Steered(adversary, self.commanded(within), sample=sample, reads="observation")


@dataclass(frozen=True)
class NoisyAdversary(ActionAdversary):
    """The adversary of NR-MDP is learned: a share of every executed action is its own, wherever the set ends.

    Args:
        alpha: The share.

    Example:
        >>> import torch
        >>> from advwrap import Bounds, LinfBall
        >>> from advwrap.victims import as_policy
        >>> attack = NoisyAdversary(0.25).attack(lambda s: s[:, :1], as_policy(torch.sin), within=LinfBall(0.1))
        >>> attack(torch.zeros(1, 1), context={"observation": torch.ones(1, 3)}, bounds=Bounds(-2.0, 2.0))
        tensor([[0.5000]])
    """

    alpha: float = 0.1

    def commanded(self, within: PerturbationSet) -> Attack:
        """`Overrule` in part."""
        return Overrule(self.alpha)


@dataclass(frozen=True)
class ProbabilisticAdversary(ActionAdversary):
    """The adversary of PR-MDP is learned: now and then it acts alone, wherever the set ends.

    Args:
        alpha: How often.

    Example:
        >>> ProbabilisticAdversary(0.25)
        ProbabilisticAdversary(alpha=0.25)
    """

    alpha: float = 0.1

    def commanded(self, within: PerturbationSet) -> Attack:
        """`Overrule`, gated."""
        return Gated(Overrule(), WithProbability(self.alpha))
