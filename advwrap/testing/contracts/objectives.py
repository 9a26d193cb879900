"""What every objective owes to the attacks that climb it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from advwrap.objectives import Objective
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import (
    assert_untouched,
    global_randomness_untouched,
    rule,
    same_bits,
    snapshot,
)
from advwrap.victims import Context


class ObjectiveContract:
    """Inherit it in a test class named ``Test...`` and override `make_objective`.

    A rule that cannot hold for a victim is switched off by name, ``test_empty_batch_has_no_scores = None``.

    Example:
        >>> from advwrap import ActionShift
        >>> class TestMyShift(ObjectiveContract):
        ...     def make_objective(self):
        ...         return ActionShift(lambda observation: 2 * observation)
        >>> TestMyShift().test_bindings_are_independent()
    """

    shape: tuple[int, ...] = (3,)
    """Of one row of the input."""

    dtypes: Sequence[torch.dtype] = strategies.FLOATS
    """That the objective and its victim accept."""

    differentiable: bool = True
    """Whether gradient attacks are meant to work on it."""

    row_tolerance: float = 1e-5
    """How much a score may depend on the batch size (matrix products do), or on gradients (the kernels of an LSTM)."""

    def make_objective(self) -> Objective:
        """The objective, with its victim."""
        raise NotImplementedError("override make_objective()")

    def context(self, rows: int) -> Context | None:
        """What the victim reads besides the input; nothing by default."""
        return None

    def modules(self) -> Sequence[nn.Module]:
        """The victim's modules, which must be left alone; none by default."""
        return ()

    @rule
    def test_one_finite_score_per_row(self, data: st.DataObject) -> None:
        """Score and gradient are finite, the score is the same in every call, and nothing is left behind."""
        clean, x = self._pair(data)
        objective, context = self.make_objective(), self.context(len(clean))
        modules, kept = self.modules(), copy.deepcopy((clean, x))
        before = snapshot(modules)
        with global_randomness_untouched():
            score = objective(clean, context)
            value = score(x)
        assert value.shape == clean.shape[:1], f"the score must be [{len(clean)}], got {value.shape}."
        assert value.is_floating_point(), f"the score must be floating point, got {value.dtype}."
        assert value.isfinite().all(), f"the score must be finite, got {value}."
        assert same_bits(score(x), value), "the score must be the same in every call."
        with torch.no_grad():
            assert self._close(score(x), value), "the score must be the same without gradients."
        if self.differentiable and len(x):
            leaf = x.clone().requires_grad_()
            (grad,) = torch.autograd.grad(score(leaf).sum(), leaf)
            assert grad.isfinite().all(), f"the gradient must be finite, got {grad}."
        assert same_bits(clean, kept[0]), "the clean input must not be changed."
        assert same_bits(x, kept[1]), "the perturbed input must not be changed."
        assert_untouched(modules, before)

    def test_gradient_is_not_zero_everywhere(self) -> None:
        """Somewhere near a clean input the objective has a slope to climb."""
        if not self.differentiable:
            return
        clean = torch.randn(16, *self.shape, generator=torch.Generator().manual_seed(0)).to(self.dtypes[0])
        x = (clean + 0.1).requires_grad_()
        value = self.make_objective()(clean, self.context(16))(x)
        (grad,) = torch.autograd.grad(value.sum(), x)
        assert (grad != 0).any(), "the gradient must not vanish everywhere."

    @rule
    def test_rows_are_independent(self, data: st.DataObject) -> None:
        """A row's score and gradient depend on that row only, however broken its neighbours are."""
        clean, x = self._pair(data, rows=3)
        objective = self.make_objective()
        whole = objective(clean, self.context(3))(x)
        alone = torch.cat([objective(clean[i : i + 1], self._rows(i))(x[i : i + 1]) for i in range(3)])
        assert self._close(whole, alone), f"a row's score must be what it is alone: got {whole} and {alone}."
        broken = x.clone()
        broken[1] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
        with_broken = objective(clean, self.context(3))(broken)
        assert self._close(with_broken[0::2], whole[0::2]), "a row that is not finite must not change the others."

    def test_empty_batch_has_no_scores(self) -> None:
        """Attacks on chosen rows meet empty batches."""
        nobody = torch.zeros(0, *self.shape, dtype=self.dtypes[0])
        value = self.make_objective()(nobody, self.context(0))(nobody)
        assert value.shape == (0,), f"an empty batch must have no scores, got {value.shape}."

    def test_bindings_are_independent(self) -> None:
        """A bound score keeps its clean input when the objective is bound to another one."""
        objective, dtype = self.make_objective(), self.dtypes[0]
        zero, one = torch.zeros(2, *self.shape, dtype=dtype), torch.ones(2, *self.shape, dtype=dtype)
        score = objective(zero, self.context(2))
        before = score(one)
        other = objective(one, self.context(2))
        other(zero)
        assert same_bits(score(one), before), "a bound score must keep its own clean input."

    def _close(self, one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one, other, rtol=self.row_tolerance, atol=self.row_tolerance)

    # What the rules draw

    def _pair(self, data: st.DataObject, *, rows: int | None = None) -> tuple[Tensor, Tensor]:
        dtype = data.draw(strategies.dtypes(among=self.dtypes))
        clean = data.draw(strategies.observations(shape=self.shape, rows=rows, dtype=dtype))
        moved = data.draw(strategies.observations(shape=self.shape, rows=len(clean), dtype=dtype, largest=1.0))
        return clean, clean + moved

    def _rows(self, row: int) -> Context | None:
        context = self.context(3)
        if context is None:
            return None
        return {k: v[row : row + 1] if isinstance(v, Tensor) else v for k, v in context.items()}
