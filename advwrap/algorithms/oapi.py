"""OA-PI: the actor raises its value under the worst executed action together with the nominal one.

Source: Nie, Fu, Ji, Gao, arXiv 2507.03372 (known to us from a digest); what it leaves open is decided in
docs/oa-pi.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torchrl.modules import MLP, ValueOperator

from advwrap.algorithms.action_search import action_search, check_search, in_some_copies
from advwrap.algorithms.defence import Batches, Hardening, Learner, between, check_radius, check_ramp
from advwrap.attacks import Attack, Identity, Strategy
from advwrap.errors import check, check_fraction
from advwrap.losses import RobustCriticLoss, RobustTableLoss
from advwrap.losses.robust_critic import search_quality
from advwrap.sets import Bounds, Linear, LinfBall
from advwrap.training.soft_update import FusedSoftUpdate
from advwrap.training.surgery import Combine, Surgery, pcgrad, protect_first

SURGERY: Mapping[str, Combine | None] = {"pcgrad": pcgrad, "nominal": protect_first, "none": None}
"""What becomes of two gradients of the actor that disagree: neither is harmed, the nominal one is not, or both are."""

CONTINUOUS = "at_worst", "steps", "restarts", "strategy", "smoothed", "adversarial_ratio"
"""Options that mean nothing where the adversary chooses among finitely many actions."""


@dataclass(frozen=True)
class OAPI:
    """Robust critics beside the learner's own; the actor follows both, so that neither harms the other.

    g = surgery(omega * grad of -Q(s, pi(s)), (1 - omega) * grad of -U(s, clip(pi(s) + d_s)))

    with U the value under an adversary who moves every executed action from the next step on, and d_s the worst move
    now. Discrete actions cannot be moved: there the adversary replaces them by the worst now and then, the minimum
    needs no search (`RobustTableLoss`), and what is said of a search below does not apply. On `SAC` the robust value
    leaves the entropy out, is bootstrapped at sampled actions, and raised at the worst execution of the mean action.

    Source: OA-PI, arXiv 2507.03372: on `TD3` it is OA-TD3.

    Args:
        epsilon: Radius of the adversary, in units of half the range of each action; the share of steps in which it
            acts, where actions are discrete.
        omega: Weight of the nominal objective; the paper's range is 0.4 to 0.6.
        at_worst: Whether the actor is raised at the worst action, which improves the worst case; the plain reading of
            the paper, U(s, pi(s)), does not.
        surgery: "pcgrad" (neither objective is harmed), "nominal" (the nominal one is not), "none", or a function of
            the two gradients, or an aggregator of TorchJD: ``UPGrad()`` (see `Surgery`).
        steps: Gradient steps of the search for the worst action (`worst_action`); the paper has 15 to 20.
        restarts: Starts of the search, for every critic.
        strategy: A search without gradients instead: `Corners` where actions are few, `CrossEntropyMethod`, ...; then
            `steps` and `restarts` must be left out.
        smoothed: Whether the robust target is taken around the action that the learner's own target is made of (TD3's
            noisy target action, a sample of SAC's policy) instead of the policy's mean.
        ramp: Between which fractions of the training the radius grows from 0 to epsilon: the agent first learns the
            task, and then to withstand the adversary. ``(0.0, 0.0)``: at once.
        adversarial_ratio: Share of the environments that collect, rounded up to whole ones (0: of none), in which the
            worst action is executed at every step, by the present robust critics: what they say of an adversary they
            then know from experience, and the other environments show what the agent does when it is left alone.

    Example:
        >>> from advwrap.algorithms import TD3
        >>> TD3("Hopper-v5", OAPI(0.2)).defence.omega
        0.6
    """

    epsilon: float
    omega: float = 0.6
    at_worst: bool = True
    surgery: str | Combine = "pcgrad"
    steps: int = 3
    restarts: int = 1
    strategy: Strategy | None = None
    smoothed: bool = True
    ramp: tuple[float, float] = (0.5, 0.75)
    adversarial_ratio: float = 0.25

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("omega", self.omega)
        check(
            callable(self.surgery) or self.surgery in SURGERY,
            f"`surgery` must be one of {', '.join(SURGERY)}, or a function, got {self.surgery!r}.",
        )
        check_search(self)
        check_ramp("ramp", self.ramp)
        check_fraction("adversarial_ratio", self.adversarial_ratio)

    @classmethod
    def paper(cls, epsilon: float) -> OAPI:
        """The paper's reading, of continuous actions: twenty steps of the search, the actor raised at U(s, pi(s)).

        The radius is there from the first step on, and only the agent collects. That twenty steps fall, and search
        every critic on its own, is ours.
        """
        return cls(epsilon, omega=0.5, at_worst=False, steps=20, ramp=(0.0, 0.0), adversarial_ratio=0.0)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """Two more critics, their term in the actor's loss, and the rule that combines it with the nominal one."""
        box = learner.box
        check(
            box is not None or self.epsilon <= 1,
            f"`epsilon` must be <= 1, the share of steps, where actions are discrete, got {self.epsilon}.",
        )
        for name in () if box is not None else CONTINUOUS:
            value = getattr(self, name)
            check(
                value == getattr(OAPI, name),
                f"`{name}` must be left out where actions are discrete, got {value}: there is nothing to search.",
            )
        radius = between(self.ramp, 0.0, self.epsilon, steps=steps)
        robust = self._tables(learner, radius) if box is None else self._critics(learner, radius, *box, seed=seed)
        updater = FusedSoftUpdate(robust, tau=learner.tau)
        # With half of the weight from the first update on, it must not begin at random beside an agent that goes on.
        for params in ("qvalue_network_params", "target_qvalue_network_params"):
            getattr(robust, params).data.copy_(getattr(learner.loss, params).data)
        combine = SURGERY[self.surgery] if isinstance(self.surgery, str) else self.surgery
        gap = SearchGap(robust) if isinstance(robust, RobustCriticLoss) else None
        return Hardening(
            execution=self._execution(robust),
            losses=(robust,),
            robust=robust,
            actor_terms=("loss_robust_actor", "robust_value"),
            weights={"loss_actor": self.omega, "loss_robust_actor": 1 - self.omega},
            surgery=None if combine is None else Surgery("loss_actor", "loss_robust_actor", combine),
            schedules=(radius,),
            updaters=(updater,),
            after=gap,
            parts={} if gap is None else {"search gap": gap},
        )

    def _execution(self, robust: RobustCriticLoss | RobustTableLoss) -> Attack:
        """What the actions suffer while the agent collects."""
        if isinstance(robust, RobustTableLoss):
            return Identity()
        return in_some_copies(action_search(self, robust.within)(robust.robust), self.adversarial_ratio)

    def _tables(self, learner: Learner, radius: Linear) -> RobustTableLoss:
        network = MLP(learner.features, learner.actions, num_cells=learner.hidden, activation_class=nn.ReLU)
        return RobustTableLoss(
            learner.actor,
            ValueOperator(network, in_keys=["clean_observation"], out_keys=["action_value"]),
            probability=radius,
            gamma=learner.gamma,
            loss_function=learner.loss_function,
            num_qvalue_nets=2,
        )

    def _critics(self, learner: Learner, radius: Linear, low: Tensor, high: Tensor, *, seed: int) -> RobustCriticLoss:
        half = (high - low) / 2
        within = LinfBall(lambda: radius() * half)
        network = MLP(learner.features + learner.actions, 1, num_cells=learner.hidden, activation_class=nn.ReLU)
        return RobustCriticLoss(
            learner.actor,
            ValueOperator(network, in_keys=["clean_observation", "action"]),
            within=within,
            bounds=Bounds(low, high),
            solver=action_search(self, within),
            next_action=learner.next_action if self.smoothed else None,
            gamma=learner.gamma,
            at_worst=self.at_worst,
            loss_function=learner.loss_function,
            num_qvalue_nets=2,
            seed=seed,
        )


class SearchGap:
    """Logs `search_quality`: what the search for the worst action misses, and how much is at stake.

    Args:
        loss: Whose search.
        every: Environment steps between two measurements, on one batch each.
    """

    def __init__(self, loss: RobustCriticLoss, every: int = 2_000) -> None:
        self.loss, self.every, self.rounds = loss, every, 0

    def __call__(self, frames: int, batches: Batches) -> Mapping[str, float] | None:
        """Measure if it is time to."""
        if frames // self.every <= self.rounds:
            return None
        self.rounds = frames // self.every
        (batch,) = batches(1)
        return search_quality(self.loss, batch)

    def state_dict(self) -> dict[str, int]:
        """How often it has measured."""
        return {"rounds": self.rounds}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from a `state_dict`."""
        self.rounds = int(state["rounds"])
