"""One budget for several steps: what an adversary does not spend now it can spend later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advwrap.errors import check, check_integer
from advwrap.sets.epsilon import resolve
from advwrap.sets.l1 import L1Ball
from advwrap.sets.l2 import L2Ball
from advwrap.sets.protocol import PerturbationSet
from advwrap.sets.rows import divide, per_row
from advwrap.sets.varying import Scaled


@dataclass(frozen=True, eq=False)
class OverHorizon:
    """One ball for the perturbations of H steps together: within each window of H steps, (d_1, ..., d_H) is in it.

    sum_t sum_j |d_tj / eps_j|^p <= 1,   p = 1 for `L1Ball`, 2 for `L2Ball`

    The windows of an episode follow one another, the first begins with it. The set of one step is what the plan hands
    out of the rest: everything (``greedy=True``), or an equal share for each of the h steps left, of which what is not
    spent (at an actuator's limit, in a step that a budget skips) is there for the next ones:

    |d_t / eps|_p^p <= 1 - sum of what was spent,   or  (1 - sum of what was spent) / h

    Source: Lee et al.,
        *Spatiotemporally constrained action space attacks on deep reinforcement learning agents*, AAAI 2020: the
        budgets of their look-ahead attack (LAS), which divides them by simulating the H steps ahead in a copy of the
        environment; ours does not look into the future. One step alone, ``PGD(LowValue(critic=...),
        within=L2Ball(eps))``, is their myopic attack (MAS).

    Args:
        within: The ball of all H steps together, an `L1Ball` or `L2Ball`.
        steps: H.
        greedy: Whether to offer all that is left to every step.

    Reads: ``past_intended``, ``past_executed`` and ``past_steps``, which the wrapper around the environment keeps.

    Raises:
        TypeError: If `within` is another set: in the L-infinity ball steps have nothing to share.
        ValueError: If `steps` is no integer >= 1; when it is used, if nobody remembers the past.

    Example:
        >>> import gymnasium
        >>> import numpy as np
        >>> from advwrap import AdversarialAction, EveryNth, Gated, RandomVertex
        >>> one_step_of_three = Gated(RandomVertex(OverHorizon(L1Ball(1.0), 3)), EveryNth(3, offset=2))
        >>> env = AdversarialAction(gymnasium.make("Pendulum-v1"), one_step_of_three)
        >>> _ = env.reset(seed=0)
        >>> [abs(float(env.step(np.zeros(1, np.float32))[-1]["executed_action"][0])) for _ in range(3)]
        [0.0, 0.0, 1.0]
    """

    within: L1Ball | L2Ball
    steps: int
    greedy: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.within, (L1Ball, L2Ball)):
            raise TypeError(
                f"`within` must be an L1Ball or L2Ball, whose budget steps can share, got {self.within!r}. "
                "Fix: L2Ball(eps); in an L-infinity ball each step has all of it anyway."
            )
        check_integer("steps", self.steps, least=1)

    @property
    def memory(self) -> int:
        """How far it looks back."""
        return self.steps - 1

    def at(self, clean: Tensor, context: Mapping[str, Any] | None) -> PerturbationSet:
        """The set of the present step."""
        if self.steps == 1:
            return self.within
        past = None if context is None else context.get("past_executed", None)
        check(
            past is not None and context is not None,
            f"{self} needs 'past_executed' in the `context`, which only an environment can remember.",
            fix="use it in AdversarialAction or AdversarialObs.",
        )
        assert past is not None and context is not None  # noqa: S101, PT018 - for the type checker
        power = 1 if isinstance(self.within, L1Ball) else 2
        moved = (past.double() - context["past_intended"].double())[:, : self.steps - 1].to(clean.device)
        began = context["past_steps"].to(clean.device) % self.steps  # steps of this window that are over
        radius = torch.as_tensor(resolve(self.within.eps, clean), dtype=torch.float64)
        spent = divide(moved, radius).abs().pow(power).flatten(2).sum(2)  # [B, H - 1]
        mine = torch.arange(self.steps - 1, device=clean.device) < began[:, None]
        left = (1 - torch.where(mine, spent, 0.0).sum(1)).clamp_min(0)
        now = left if self.greedy else left / (self.steps - began)
        return Scaled(self.within, per_row(now ** (1 / power), clean))
