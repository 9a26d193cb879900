"""OA-PPO: the advantage that PPO follows, mixed with that under the worst executed action.

Source: Nie, Fu, Ji, Gao, OA-PI, arXiv 2507.03372 (known to us from a digest); what it leaves open is decided in
docs/oa-pi.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import ProbabilisticTensorDictSequential
from torch import Tensor, nn
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.modules import MLP, ValueOperator

from advwrap.algorithms.action_search import action_search, check_search, in_some_copies
from advwrap.algorithms.defence import adam, between, check_radius, check_ramp
from advwrap.attacks import Strategy
from advwrap.errors import check, check_fraction, check_integer
from advwrap.losses import RobustCriticLoss
from advwrap.losses.robust_critic import search_quality
from advwrap.modules.streams import CallStreams, salted
from advwrap.sets import Bounds, LinfBall
from advwrap.sets.coefficient import check_coefficient
from advwrap.training.soft_update import FusedSoftUpdate
from advwrap.training.update import Update

CLEAN = "clean_observation"
KEPT = ["observation", CLEAN, ("next", "observation"), ("next", CLEAN), ("next", "reward"), ("next", "terminated")]


@dataclass(frozen=True)
class RobustAdvantage:
    """How PPO learns the advantage under the worst executed action, and how much of it counts.

    A = omega A_GAE + (1 - omega) A_adv
    A_adv(s, a) = r + gamma (1 - terminated) V(s') - [U(s, e) - W(s, a)] - V(s),   e: what was executed of a
    V(s) = mean over m actions a' ~ pi(s) of W(s, a'),   W(s, a) = min over d of U(s, clip(a + d))

    U is the value under an adversary who moves every executed action from the next step on, learned by temporal
    differences from replayed steps, in the present unit of the rewards; W is that under one who moves this action, too.
    A_adv estimates W(s, a) - V(s): what followed in the task says what U(s, e) is, and the critics only what the
    adversary takes from it, which is nothing where it has acted (`adversarial_ratio`). Where the critics say both,
    their errors between actions that are alike decide. No lambda: in most copies returns of several steps were played
    without the adversary, so that they would be estimates of the nominal value. Both advantages are in units of the
    return, so that they are added as they are (PPO standardises the sum). Nobody else may change what is executed: an
    `AdversarialAction` in PPO's `wrap` is refused.

    Source: OA-PPO, arXiv 2507.03372; its plain reading is ``at_worst=False``: U in the place of W, but for V(s'), so
    that A_adv estimates U(s, a) - E U(s, a').

    Args:
        epsilon: Radius of the adversary, in units of half the range of each action.
        omega: Weight of PPO's own advantage, the nominal one but for the copies in which the adversary acts.
        at_worst: Whether actions are valued at their worst execution.
        actions: m, of V.
        updates: Of the robust critics per round of PPO: one for every four steps of a usual round.
        batch_size: Steps per update.
        keep: Environment steps that are replayed, the last ones. Where PPO's normaliser runs, old steps were seen with
            older statistics.
        learning_rate: Of the robust critics.
        tau: Share of the new weights in their target networks per update.
        ramp: Between which fractions of the training the radius grows from 0 to epsilon: an agent that cannot stand yet
            learns nothing from being pushed. ``(0.0, 0.0)``: at once.
        adversarial_ratio: Share of the copies of the task, rounded up to whole ones (0: of none), in which the worst
            action by the present robust critics is executed at every step. PPO learns only in states that it visits;
            where nobody ever pushes the agent these are not the ones in which an adversary would have it.
        steps: Gradient steps of the search for the worst action (`worst_action`).
        restarts: Starts of the search, for every critic.
        strategy: A search without gradients instead, which has no use for `steps` and `restarts`.

    Example:
        >>> from advwrap.algorithms import PPO
        >>> config = PPO("Pendulum-v1", advantage=RobustAdvantage(0.2, updates=8), steps=64, envs=2, horizon=32,
        ...              minibatches=2)
        >>> config.train().act(torch.zeros(1, 3)).shape
        torch.Size([1, 1])
    """

    epsilon: float
    omega: float = 0.5
    at_worst: bool = True
    actions: int = 8
    updates: int = 512
    batch_size: int = 256
    keep: int = 20_000
    learning_rate: float = 1e-3
    tau: float = 0.02
    ramp: tuple[float, float] = (0.25, 0.5)
    adversarial_ratio: float = 0.25
    steps: int = 3
    restarts: int = 1
    strategy: Strategy | None = None

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("omega", self.omega)
        check_fraction("adversarial_ratio", self.adversarial_ratio)
        check_ramp("ramp", self.ramp)
        check(0 < self.tau <= 1, f"`tau` must be in (0, 1], got {self.tau}.")
        check_coefficient("learning_rate", self.learning_rate, positive=True)
        for name in ("actions", "updates", "batch_size", "keep"):
            check_integer(name, getattr(self, name), least=1)
        check_search(self)

    def estimator(
        self,
        actor: ProbabilisticTensorDictSequential,
        *,
        box: Bounds,
        sizes: tuple[int, ...],
        gamma: float,
        steps: int,
        compile: bool,  # noqa: A002 - the field's word
        seed: int,
    ) -> RobustAdvantages:
        """The part of a training that keeps the critics.

        Args:
            actor: The policy; it reads "observation".
            box: The least and the greatest action.
            sizes: Features, actions, and the units of the hidden layers.
            gamma: Discount.
            steps: Of the training.
            compile: Whether the update of the critics is one compiled graph.
            seed: Of the searches.
        """
        return RobustAdvantages(self, actor, box, sizes, gamma, steps, compile, seed)


class RobustAdvantages:
    """Critics that learn beside PPO, round by round, and rewrite the advantage of its batches.

    Args: See `RobustAdvantage.estimator`.
    """

    def __init__(
        self,
        config: RobustAdvantage,
        actor: ProbabilisticTensorDictSequential,
        box: Bounds,
        sizes: tuple[int, ...],
        gamma: float,
        steps: int,
        compile: bool,  # noqa: A002
        seed: int,
    ) -> None:
        self.config, self.actor, self.box = config, actor, box
        features, actions, *hidden = sizes
        low, high = box.finite(torch.zeros(actions), config, fix="gymnasium.wrappers.RescaleAction.")
        self.low, self.high = low, high
        self.radius = between(config.ramp, 0.0, config.epsilon, steps=steps)
        within = LinfBall(lambda: self.radius() * (high - low) / 2)
        solver = action_search(config, within)
        self.loss = RobustCriticLoss(
            None,  # the policy is PPO's: here only the critics learn
            ValueOperator(MLP(features + actions, 1, num_cells=hidden, activation_class=nn.ReLU), [CLEAN, "action"]),
            within=within,
            bounds=box,
            solver=solver,
            next_action=self._played,
            gamma=gamma,
            num_qvalue_nets=2,
            seed=seed,
        )
        # The loss searches for its targets; here the critics as they are, all of them.
        self.search = solver(self.loss.robust)
        self.execution = in_some_copies(self.search, config.adversarial_ratio)
        """What the actions suffer while the policy collects."""
        self.streams = CallStreams(salted(seed, "RobustAdvantages"))
        self.updater = FusedSoftUpdate(self.loss, tau=config.tau)
        critics = self.loss.qvalue_network_params
        optimizer = adam([critics], config.learning_rate)
        self.update = Update([self.loss], optimizer, compile=compile)
        self.buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(config.keep), batch_size=config.batch_size)
        self.logged: dict[str, float] = {}
        """Of the last round: the critics' loss, what their search misses, and the spread of both advantages."""

    def __call__(self, batch: TensorDictBase, unit: float = 1.0) -> None:
        """Learn from the new steps and from those before; then mix the advantages, in place.

        Args:
            batch: What PPO learns from, [envs, time].
            unit: What its rewards were divided by; the unit moves, so that rewards are kept without it.
        """
        steps = batch.reshape(-1).select(*KEPT)
        steps["action"] = self._executed(batch["executed_action"]).reshape(len(steps), -1)
        steps["next", "reward"] = steps["next", "reward"] * unit
        self.buffer.extend(steps)
        for _ in range(self.config.updates):
            sample = self.buffer.sample()
            sample["next", "reward"] = sample["next", "reward"] / unit
            values = self.update(sample)
            self.updater.step()
        self.radius.advance(len(steps))
        omega, nominal = self.config.omega, batch["advantage"]
        robust = self.advantages(batch)
        self.logged = {
            "loss_robust_qvalue": float(values["loss_robust_qvalue"]),
            "nominal_advantage_std": float(nominal.std()),
            "robust_advantage_std": float(robust.std()),
            **search_quality(self.loss, sample),
        }
        batch["advantage"] = omega * nominal + (1 - omega) * robust.reshape(nominal.shape)

    @torch.no_grad()
    def advantages(self, batch: TensorDictBase) -> Tensor:
        """A_adv of the actions of a batch, [N], in the unit of its rewards."""
        steps, following = batch.reshape(-1), batch["next"].reshape(-1)
        goes_on = ~following["terminated"].squeeze(-1)
        later = goes_on * self._value(following, self._worst)
        followed: Tensor = following["reward"].squeeze(-1) + self.loss.gamma * later
        state, intended, executed = steps[CLEAN], *map(self._executed, (steps["action"], steps["executed_action"]))
        worth = self._worst if self.config.at_worst else self._obeyed
        return followed - (self._obeyed(state, executed) - worth(state, intended)) - self._value(steps, worth)

    def _value(self, steps: TensorDictBase, worth: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The mean worth of the policy's actions, [N]: V(s) of W."""
        actions = self.config.actions
        law = self.actor.get_dist(self._reading(steps["observation"]))
        others = self._executed(law.sample((actions,))).flatten(0, 1)
        return worth(steps[CLEAN].repeat(actions, 1), others).reshape(actions, -1).mean(0)

    def _worst(self, state: Tensor, executed: Tensor) -> Tensor:
        """W(s, a), [N]."""
        context = {"observation": state, CLEAN: state}
        streams = self.streams(len(executed))
        return self._obeyed(state, self.search(executed, context=context, bounds=self.box, generator=streams))

    def _obeyed(self, state: Tensor, executed: Tensor) -> Tensor:
        """U(s, a), [N]."""
        return self.loss.robust(state, executed).amin(0)

    def _played(self, following: TensorDictBase) -> Tensor:
        """The action that the policy would take next, as it is executed."""
        with torch.no_grad():
            action: Tensor = self.actor.get_dist(self._reading(following["observation"])).sample()
        return self._executed(action)

    def _reading(self, seen: Tensor) -> TensorDictBase:
        return TensorDict({"observation": seen}, [len(seen)])

    def _executed(self, action: Tensor) -> Tensor:
        """The policy's normal variable leaves the box; the task clips it."""
        return action.clamp(self.low, self.high)

    def _parts(self) -> Mapping[str, Any]:
        return {
            "loss": self.loss,
            "update": self.update,
            "buffer": self.buffer,
            "streams": self.streams,
            "radius": self.radius,
        }

    def state_dict(self) -> dict[str, Any]:
        """Critics, optimiser, replayed steps and random streams."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
