"""What makes a learner robust: the parts that a defence adds, whatever the learner is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import gymnasium as gym
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn
from torchrl.objectives import LossModule, SoftUpdate

from advwrap.attacks import Attack, Identity
from advwrap.errors import check
from advwrap.modules import Perturb
from advwrap.sets import Linear
from advwrap.sets.coefficient import Coefficient
from advwrap.targets import PerturbPlaces, SoftBackup
from advwrap.training.checkpoint import Stateful
from advwrap.training.running_normaliser import RunningNormaliser
from advwrap.training.surgery import Surgery


@dataclass(frozen=True)
class Learner:
    """An off-policy learner, ready to train.

    Args:
        env: Id of the task.
        actor: The policy; it reads ``observation``, what the victim sees.
        explore: The policy that collects.
        loss: Its TorchRL loss; the critics read ``clean_observation``, the truth.
        updater: Moves the target networks.
        policy: The kind of policy, a name of `KINDS`.
        features: Size of the observation.
        actions: Size of the action.
        hidden: Units of the hidden layers.
        learning_rate: Of all networks.
        gamma: Discount.
        tau: Share of the new weights in the target networks per update.
        compile: Whether its update is one compiled graph.
        delay: Updates of the critics per update of the actor and of the target networks.
        box: The least and the greatest action; None where actions are discrete.
        next_action: From ``batch["next"]`` to the action that its own target is made of; None where actions are
            discrete.
        loss_function: Of its critics: "l2" or "smooth_l1".

    Attributes:
        normaliser: The statistics of the observations; the training moves them.

    Example:
        >>> import gymnasium as gym
        >>> from advwrap.algorithms import SAC
        >>> task = gym.make("Pendulum-v1")
        >>> learner = SAC("Pendulum-v1").learner(task.observation_space, task.action_space)
        >>> learner.features, learner.actions, learner.policy
        (3, 1, 'gaussian')
    """

    env: str
    actor: TensorDictModuleBase
    explore: TensorDictModuleBase
    loss: LossModule
    updater: SoftUpdate
    policy: str
    features: int
    actions: int
    hidden: tuple[int, ...]
    learning_rate: float
    gamma: float
    tau: float
    compile: bool = False
    delay: int = 1
    box: tuple[Tensor, Tensor] | None = None
    next_action: Callable[[TensorDictBase], Tensor] | None = None
    loss_function: str = "l2"
    normaliser: RunningNormaliser = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "normaliser", RunningNormaliser(self.features))


Batches: TypeAlias = Callable[[int], Iterable[TensorDictBase]]
"""So many batches from the replay buffer, normalised and not perturbed."""


@dataclass(frozen=True)
class Hardening:
    """The parts that a defence adds to a learner; nothing by default.

    Args:
        behaviour: What the policy's observations suffer while it collects.
        execution: What its actions suffer while it collects; the learner is told what was executed.
        perturb: What a sampled batch suffers before the losses.
        losses: Further losses, trained by the same optimiser.
        robust: The one of them whose critics value actions under an adversary, for the agent to keep.
        actor_terms: Names of their terms that train the actor, and of what they log of it: they rest when it rests.
        weights: Coefficients of terms of any loss.
        surgery: Two terms whose gradients are combined by a rule instead of being added.
        schedules: What moves with the environment steps.
        updaters: Of the target networks of the further losses.
        after: Called after every round of updates, with the number of environment steps and a function that samples so
            many normalised batches; numbers that it returns are logged.
        parts: What else a checkpoint must hold.

    Example:
        >>> from advwrap import LinfBall, Noise
        >>> noise = Noise(LinfBall(0.1))
        >>> Hardening(behaviour=noise, perturb=Perturb(noise)).behaviour
        Noise(within=LinfBall(eps=0.1))
    """

    behaviour: Attack = field(default_factory=Identity)
    execution: Attack = field(default_factory=Identity)
    perturb: Perturb | PerturbPlaces | SoftBackup | None = None
    losses: tuple[nn.Module, ...] = ()
    robust: LossModule | None = None
    actor_terms: tuple[str, ...] = ()
    weights: Mapping[str, Coefficient] = field(default_factory=dict)
    surgery: Surgery | None = None
    schedules: tuple[Linear, ...] = ()
    updaters: tuple[SoftUpdate, ...] = ()
    after: Callable[[int, Batches], Mapping[str, float] | None] | None = None
    parts: Mapping[str, Stateful] = field(default_factory=dict)

    def with_losses(self, other: Hardening) -> Hardening:
        """These parts, and the losses of `other` with all that belongs to them besides."""
        return replace(
            self,
            losses=(*self.losses, *other.losses),
            actor_terms=(*self.actor_terms, *other.actor_terms),
            weights={**self.weights, **other.weights},
            schedules=(*self.schedules, *other.schedules),
            updaters=(*self.updaters, *other.updaters),
        )


class Defence(Protocol):
    """A way of training robust agents: a frozen dataclass of its numbers."""

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """The parts for this learner, in a training of so many environment steps."""
        ...


@dataclass(frozen=True)
class Undefended:
    """No defence: the learner as it is.

    Example:
        >>> Undefended()
        Undefended()
    """

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """Nothing."""
        return Hardening()


def action_box(space: gym.Space[Any], env: str) -> tuple[Tensor, Tensor]:
    """The least and the greatest action of a task.

    Raises:
        TypeError: If the actions are no box.
        ValueError: If one of them has no limit.
    """
    if not isinstance(space, gym.spaces.Box):
        raise TypeError(
            f"`env` must have box actions, got {space} in {env}. "
            "Fix: DiscreteSAC (on the command line: discrete-sac, and every defence with it, as oa-discrete-sac)."
        )
    check(
        space.is_bounded(),
        f"`env` must have actions with limits, got {space} in {env}.",
        fix="gymnasium.wrappers.RescaleAction.",
    )
    # In the networks' dtype: a box may be of doubles.
    return torch.as_tensor(space.low, dtype=torch.float32), torch.as_tensor(space.high, dtype=torch.float32)


def check_radius(epsilon: float) -> None:
    """Refuse a defence within an empty ball."""
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)):
        raise TypeError(f"`epsilon` must be a number, got {epsilon!r}. Fix: 0.1.")
    check(epsilon > 0, f"`epsilon` must be > 0, got {epsilon}.", fix="leave the defence out for none.")


def check_ramp(name: str, ramp: tuple[float, float]) -> None:
    """Refuse what falls, or leaves the training."""
    pair = isinstance(ramp, Sequence) and len(ramp) == 2
    check(pair and 0 <= ramp[0] <= ramp[1] <= 1, f"`{name}` must rise within [0, 1], got {ramp}.", fix="(0.5, 0.75).")


def between(ramp: tuple[float, float], start: float, end: float, *, steps: int) -> Linear:
    """A schedule that moves from `start` to `end` between two fractions of a training of so many steps.

    One that ends at 0 is at its end before the first step.
    """
    begin, stop = (int(fraction * steps) for fraction in ramp)
    return Linear(start if stop > 0 else end, end, max(stop - begin, 1), begin=begin)


def adam(modules: Iterable[nn.Module], learning_rate: float) -> torch.optim.Adam:
    """The optimiser of all networks: Adam, in one fused kernel."""
    # A regulariser holds the parameters of the actor that another loss trains.
    params = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return torch.optim.Adam(list(params.values()), lr=learning_rate, fused=True)
