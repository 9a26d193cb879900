"""Named trainings: a learner with a defence, and the numbers of the papers for the tasks that they report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, overload

from advwrap.algorithms.action_robust import ActionRobustTD3
from advwrap.algorithms.alternating import Alternating
from advwrap.algorithms.attack_training import TrainingAttack
from advwrap.algorithms.defence import Defence, Undefended
from advwrap.algorithms.discrete_sac import DiscreteSAC
from advwrap.algorithms.oa_ppo import RobustAdvantage
from advwrap.algorithms.oapi import OAPI
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.algorithms.ppo import PPO
from advwrap.algorithms.robust_regulariser import RobustRegulariser
from advwrap.algorithms.sac import SAC
from advwrap.algorithms.td3 import TD3
from advwrap.algorithms.valt_eps import ValtEps
from advwrap.algorithms.valt_sampled import ValtSampled
from advwrap.algorithms.valt_soft import ValtSoft
from advwrap.algorithms.wocar import Wocar
from advwrap.errors import check
from advwrap.training import Running
from advwrap.wrappers import PAAD, SARL, AttackerKind


@dataclass(frozen=True)
class Task:
    """What VALT uses on one task.

    Source: VALT, section 5 and Tables 2 to 6. Its tasks are the "-v2" ones; ours are "-v5".

    Args:
        epsilon: Radius, in units of the running standard deviation.
        steps: Environment steps.
        first: Share of the training after which the radius of the regulariser begins to grow.
        last: Share of the training after which schedules have reached their end.
        regulariser: kappa_reg of Robust-SAC, VALT-EPS, VALT-SOFT and SAC-PPO.
        ratio: Share of perturbed steps while collecting, of VALT-EPS and VALT-SOFT.
        temperature: alpha_attk of VALT-SOFT.
        adversary: Of SAC-PPO.
        adversary_steps: Its environment steps per step of the agent.
        reset_every: Steps between two resets of its adversary.
        target_entropy: Of SAC; None for minus the size of the action.
        action_epsilon: Radius of OA-PI, in units of half the range of each action. Ours: we know of none in its paper.
    """

    epsilon: float
    steps: int
    first: float
    last: float
    regulariser: tuple[float, float, float, float]
    ratio: tuple[float, float]
    temperature: float
    adversary: PPO
    adversary_steps: float
    reset_every: int = 2_000
    target_entropy: float | None = None
    action_epsilon: float = 0.2

    @property
    def ramp(self) -> tuple[float, float]:
        """Between which shares of the training the radius of the regulariser grows."""
        return self.first, self.last


TASKS: Mapping[str, Task] = {
    "HalfCheetah": Task(
        0.15, 1_000_000, 0.1, 0.8, (300.0, 30.0, 1.0, 30.0), (0.5, 1.0), 8.0,
        PPO(learning_rate=3e-5, value_learning_rate=1e-5, entropy=1e-3), 5.0,
    ),
    "Hopper": Task(
        0.075, 500_000, 0.2, 0.8, (300.0, 3.0, 3.0, 300.0), (0.5, 0.5), 2.0,
        PPO(learning_rate=3e-5, value_learning_rate=3e-6, entropy=1e-3), 10.0, target_entropy=0.2,
    ),
    "Walker2d": Task(
        0.05, 1_500_000, 1 / 15, 13 / 15, (10.0, 0.0, 0.0, 10.0), (0.5, 0.5), 4.0,
        PPO(learning_rate=3e-3, value_learning_rate=1e-3, entropy=3e-3), 10 / 3,
    ),
    "Ant": Task(
        0.15, 3_000_000, 1 / 30, 0.9, (30.0, 30.0, 30.0, 30.0), (1.0, 0.5), 4.0,
        PPO(learning_rate=1e-4, value_learning_rate=1e-5, entropy=1e-3), 10 / 3, reset_every=1_000,
    ),
}  # fmt: skip
"""By the name of the task without its version."""

ELSEWHERE = Task(
    0.05, 20_000, 0.1, 0.8, (10.0, 1.0, 1.0, 1.0), (0.5, 0.5), 2.0,
    PPO(horizon=64, minibatches=8, learning_rate=1e-3), 5.0,
)  # fmt: skip
"""For tasks that the paper does not report: ours, made for the small ones (`advwrap demo`)."""


def task_of(env: str) -> Task:
    """The paper's numbers for this task, or ours where it has none."""
    return TASKS.get(re.sub(r"-v\d+$", "", env), ELSEWHERE)


def _undefended(task: Task) -> Defence:
    return Undefended()


def _attack_training(task: Task) -> Defence:
    return TrainingAttack(task.epsilon)


def _robust(task: Task) -> Defence:
    return RobustRegulariser(task.epsilon, task.regulariser[0], ramp=task.ramp)


def _valt_eps(task: Task) -> Defence:
    return ValtEps(
        task.epsilon,
        adversarial_ratio=task.ratio[0],
        ramp=(0.0, task.last),
        regulariser=task.regulariser[1],
        regulariser_ramp=task.ramp,
    )


def _valt_soft(task: Task) -> Defence:
    return ValtSoft(
        task.epsilon,
        temperature=task.temperature,
        adversarial_ratio=task.ratio[1],
        reset_every=task.reset_every,
        regulariser=task.regulariser[2],
        regulariser_ramp=task.ramp,
    )


def _valt_sampled(task: Task) -> Defence:
    return ValtSampled(
        task.epsilon,
        temperature=task.temperature,
        adversarial_ratio=task.ratio[1],
        regulariser=task.regulariser[2],
        regulariser_ramp=task.ramp,
    )


def _alternating(task: Task, kind: AttackerKind) -> Defence:
    return Alternating(
        task.epsilon,
        task.adversary,
        kind,
        adversary_steps=task.adversary_steps,
        regulariser=task.regulariser[3],
        regulariser_ramp=task.ramp,
    )


def _wocar(task: Task, *, mean_action: bool) -> Defence:
    return Wocar(task.epsilon, mean_action=mean_action, ramp=(0.0, task.last))


def _oapi(task: Task) -> Defence:
    return OAPI(task.action_epsilon)


def _oapi_paper(task: Task) -> Defence:
    return OAPI.paper(task.action_epsilon)


DEFENCES: Mapping[str, Callable[[Task], Defence]] = {
    "": _undefended,
    "attacked": _attack_training,
    "robust": _robust,
    "wocar": partial(_wocar, mean_action=False),
    "wocar-mean": partial(_wocar, mean_action=True),
    "valt-eps": _valt_eps,
    "valt-soft": _valt_soft,
    "valt-sampled": _valt_sampled,
    "alternating": partial(_alternating, kind=SARL()),
    "pa-alternating": partial(_alternating, kind=PAAD()),
    "oa": _oapi,
    "oa-paper": _oapi_paper,
}
CONTINUOUS = ("wocar", "wocar-mean", "oa-paper")
"""Those that bound continuous actions, or differ from another in a search that discrete ones do not need."""
LEARNERS: Mapping[str, type[OffPolicy]] = {"sac": SAC, "td3": TD3, "discrete-sac": DiscreteSAC}
TRAININGS: Mapping[str, tuple[Callable[..., OffPolicy], Callable[[Task], Defence]]] = {
    "-".join(filter(None, (defence, learner))): (LEARNERS[learner], DEFENCES[defence])
    for learner in LEARNERS
    for defence in DEFENCES
    if learner != "discrete-sac" or defence not in CONTINUOUS
} | {
    "nr-td3": (partial(ActionRobustTD3, game="noisy"), _undefended),
    "pr-td3": (partial(ActionRobustTD3, game="probabilistic"), _undefended),
}
"""What learns, and its defence, by name."""

ON_POLICY: Mapping[str, Callable[[Task], RobustAdvantage | None]] = {
    "ppo": lambda task: None,
    "oa-ppo": lambda task: RobustAdvantage(task.action_epsilon),
}
"""Trainings with PPO, by name."""

NAMES = (*TRAININGS, *ON_POLICY)
"""All named trainings: "sac", "robust-sac", "valt-eps-sac", ..., "oa-td3", ..., "nr-td3", ..., "ppo", "oa-ppo"."""


ALIASES: Mapping[str, str] = {"sac-ppo": "alternating-sac", "pa-sac-ppo": "pa-alternating-sac"}
"""As VALT calls them."""

SHORT: Mapping[str, str] = {
    **{key: f"{key}-sac" for key in DEFENCES if key},
    "oa": "oa-td3",
    "oa-paper": "oa-paper-td3",
    **ALIASES,
}
"""Other words for a name: "valt-eps" for "valt-eps-sac", and those of the paper."""


@overload
def preset(name: Literal["ppo", "oa-ppo"], env: str, **changes: Any) -> PPO: ...
@overload
def preset(name: str, env: str, **changes: Any) -> OffPolicy: ...
def preset(name: str, env: str, **changes: Any) -> OffPolicy | PPO:
    """A named training for a task.

    Where VALT reports the task, its numbers: 2 x 256 units, learning rate 3e-4, Huber loss, prioritised replay. A
    learner may be left out where it is SAC: "valt-eps" is "valt-eps-sac". PPO runs as long, with its own defaults,
    running statistics of the observations and gradients of length 1/2 at most (elsewhere 100 000 steps at the learning
    rate 1e-3).

    Source: VALT, Tables 2 to 6.

    Args:
        name: One of `NAMES` or of `SHORT`: "sac-ppo" and "pa-sac-ppo" are the paper's words for "alternating" and
            "pa-alternating".
        env: Id of a Gymnasium task.
        changes: Other arguments of the training.

    Raises:
        ValueError: If there is no such training.

    Example:
        >>> config = preset("valt-eps", "HalfCheetah-v5", seed=1)
        >>> type(config).__name__, config.defence.epsilon, config.steps
        ('SAC', 0.15, 1000000)
    """
    full = SHORT.get(name, name)
    check(
        full in NAMES,
        f"`name` must be that of a training, got {name!r}.",
        fix=f"{' or '.join(get_close_matches(name, [*SHORT, *NAMES], n=2)) or ', '.join(NAMES)}.",
    )
    task = task_of(env)
    if full in ON_POLICY:
        short = {"steps": 100_000, "learning_rate": 1e-3} if task is ELSEWHERE else {"steps": task.steps}
        common = {"normaliser": Running(), "max_grad_norm": 0.5, "compile": task is not ELSEWHERE}
        return PPO(env, advantage=ON_POLICY[full](task), **{**common, **short, **changes})
    learner, defence = TRAININGS[full]
    arguments: dict[str, Any] = {"steps": task.steps}
    if task is not ELSEWHERE:
        arguments |= {
            "hidden": (256, 256),
            "learning_rate": 3e-4,
            "reward_scale": 1.0,
            "random_steps": 5_000,
            "frames_per_batch": 100,
            "evaluate_every": 25_000,  # an episode has 1000 steps
            "huber": True,
            "prioritised": True,
            "compile": True,
        }
        if learner is SAC:
            arguments["target_entropy"] = task.target_entropy
    arguments |= changes
    if "random_steps" not in changes:
        arguments["random_steps"] = min(arguments.get("random_steps", 1_000), int(arguments["steps"]) // 10)
    return learner(env, defence(task), **arguments)
