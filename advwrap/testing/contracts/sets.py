"""What every perturbation set owes to the attacks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from advwrap.randomness import Streams
from advwrap.sets import Epsilon, PerturbationSet
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import rule, same_bits

_SHRINK = {torch.float64: 1 - 2.0**-40, torch.float32: 1 - 2.0**-16}
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}


class SetContract:
    """Inherit it in a test class named ``Test...`` and override `make_set`.

    Example:
        >>> from advwrap import LinfBall
        >>> class TestMyBall(SetContract):
        ...     def make_set(self, eps):
        ...         return LinfBall(eps)
        >>> TestMyBall().test_holds_zero()
    """

    shape: tuple[int, ...] = (3,)
    """Of one row."""

    convex: bool = True
    """A set that is not convex has no unique projection, and projecting may spread points apart."""

    def make_set(self, eps: Epsilon) -> PerturbationSet:
        """The set with this radius: a number, one per feature, or a callable."""
        raise NotImplementedError("override make_set(eps)")

    # Feasibility

    @rule
    def test_holds_zero(self, data: st.DataObject) -> None:
        """No perturbation is always allowed, and the only one of radius 0."""
        within, zero = self._set(data), torch.zeros(2, *self.shape)
        assert within.contains(zero).all(), "0 must lie in the set."
        assert within.contains(zero).shape == (2,), "`contains` must return one bool per row."
        point, delta = self.make_set(0.0), self._deltas(data, within)
        moved = (delta != 0).flatten(1).any(1)
        assert torch.equal(point.contains(delta), ~moved), "radius 0 must allow exactly 0."
        assert (point.project(delta) == 0).all(), "radius 0 must project everything to 0."

    @rule
    def test_projection_lies_in_the_set(self, data: st.DataObject) -> None:
        """Up to rounding: an attack rounds the rest inwards."""
        within = self._set(data)
        delta = self._deltas(data, within)
        projected = within.project(delta)
        assert projected.dtype == delta.dtype, "`project` must keep the dtype."
        assert projected.shape == delta.shape, "`project` must keep the shape."
        assert self._inside(within, projected).all(), f"{projected} must lie in the set."

    @rule
    def test_points_of_the_set_stay(self, data: st.DataObject) -> None:
        """A projection moves nothing that is feasible, not even by rounding."""
        within = self._set(data)
        delta = self._deltas(data, within)
        inside = within.contains(delta)
        assert torch.equal(within.project(delta)[inside], delta[inside]), "feasible points must stay."
        again = within.project(within.project(delta))
        assert self._close(within, again, within.project(delta)), "`project` must be idempotent."

    @rule
    def test_is_solid(self, data: st.DataObject) -> None:
        """Moving any feature towards 0 stays in the set: bounds and rounding inwards rely on it."""
        within = self._set(data)
        delta = self._shrunk(within.project(self._deltas(data, within)))
        share = data.draw(strategies.observations(shape=self.shape, rows=len(delta), largest=1.0))
        less = delta * share.abs().to(delta.dtype)
        assert within.contains(less)[within.contains(delta)].all(), "the set must be solid."

    # Optimality

    @rule
    def test_projection_is_nearest(self, data: st.DataObject) -> None:
        """No other point of the set is nearer; for a convex set, the obtuse angle criterion."""
        within = self._set(data)
        delta = self._deltas(data, within, rows=1)
        assume(len(delta) > 0)
        p = within.project(delta)
        others = self._some_points(data, within, delta)
        scale = self._scale(within, delta)
        nearer = (delta - p).flatten().norm() - (delta - others).flatten(1).norm(dim=1)
        assert (nearer <= _TOLERANCE[delta.dtype] * scale).all(), "the projection must be nearest."
        if self.convex:
            angle = ((delta - p) * (others - p)).flatten(1).sum(1)
            worst = _TOLERANCE[delta.dtype] * scale**2
            assert (angle <= worst).all(), "<d - P(d), y - P(d)> must be <= 0 for all y in the set."

    @rule
    def test_projection_does_not_spread(self, data: st.DataObject) -> None:
        """||P(a) - P(b)|| <= ||a - b|| for a convex set."""
        if not self.convex:
            return
        within = self._set(data)
        a = self._deltas(data, within, rows=1)
        b = self._deltas(data, within, rows=1).to(a.dtype)
        apart = (within.project(a) - within.project(b)).flatten().norm()
        slack = _TOLERANCE[a.dtype] * self._scale(within, a)
        assert apart <= (a - b).flatten().norm() + slack, "a projection must not spread points."

    @rule
    def test_steepest_is_best(self, data: st.DataObject) -> None:
        """No point of the set has a larger scalar product with the gradient."""
        within = self._set(data)
        grad = data.draw(self._batch(rows=1))
        best = within.steepest(grad)
        assert best.dtype == grad.dtype, "`steepest` must keep the dtype."
        assert best.shape == grad.shape, "`steepest` must keep the shape."
        assert self._inside(within, best).all(), f"the steepest point {best} must lie in the set."
        others = self._some_points(data, within, grad)
        gain = ((others - best) * grad).flatten(1).sum(1)
        scale = self._scale(within, best) * float(grad.abs().max())
        assert (gain <= _TOLERANCE[grad.dtype] * scale).all(), "`steepest` must be the best point."

    @rule
    def test_steepest_does_not_depend_on_the_size_of_the_gradient(self, data: st.DataObject) -> None:
        """Saturated victims have gradients of 1e-30: they have a direction nevertheless."""
        within = self._set(data)
        grad = data.draw(self._batch(rows=1))
        grad = torch.where(grad.abs() < 1e-3, torch.zeros_like(grad), grad)
        power = data.draw(st.integers(-100, 100))
        best, scaled = within.steepest(grad), within.steepest(grad * 2.0**power)
        assert self._close(within, best, scaled), f"2**{power} times a gradient is as steep."
        assert (within.steepest(torch.zeros_like(grad)) == 0).all(), "no gradient, no step."

    @rule
    def test_walk_reaches_the_best_point(self, data: st.DataObject) -> None:
        """Steps along `steepest` and back into the set end where a linear function is largest.

        An attack walks with ``project_in_radii`` where a set has it, with `project` otherwise.
        """
        if not self.convex:
            return
        streams, like = Streams.seeded([data.draw(strategies.seeds())]), torch.zeros(1, *self.shape).double()
        # Unequal radii and no zeros: where a walk that mixes two geometries goes wrong.
        within = self.make_set(streams.uniform(like, 0.1, 1.0)[0])
        grad = streams.normal(like)
        nearest = getattr(within, "project_in_radii", within.project)
        best = within.steepest(grad)
        x = within.sample(grad, streams)
        for _ in range(40):
            x = nearest(x + 2 * best)
        reached, possible = (x * grad).sum(), (best * grad).sum()
        assert reached >= possible * (1 - 1e-6), f"a walk must reach {possible}, got to {reached}."

    # Randomness

    @rule
    def test_samples_fill_the_set(self, data: st.DataObject) -> None:
        """Samples lie in the set, differ between rows and seeds, and repeat with the seed."""
        within, seed = self._set(data, zero=False), data.draw(strategies.seeds())
        dtype = data.draw(strategies.dtypes(among=strategies.FLOATS))
        like = torch.zeros(8, *self.shape, dtype=dtype)
        sample = within.sample(like, Streams.seeded(range(seed, seed + 8)))
        assert sample.dtype == dtype, "`sample` must keep the dtype."
        assert sample.shape == like.shape, "`sample` must keep the shape."
        assert self._inside(within, sample).all(), "samples must lie in the set."
        assert not torch.equal(sample[:-1], sample[1:]), "samples of different rows must differ."
        again = within.sample(like[3:4], Streams.seeded([seed + 3]))
        assert same_bits(again, sample[3:4]), "a row's sample must depend on its own stream only."

    # Rows

    @rule
    def test_rows_are_independent(self, data: st.DataObject) -> None:
        """What happens to a row does not depend on its neighbours, however broken they are."""
        within = self._set(data)
        delta = self._deltas(data, within, rows=3)
        broken = delta.clone()
        broken[0] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
        for name in ("project", "steepest", "contains"):
            f = getattr(within, name)
            whole, alone = f(delta), torch.cat([f(delta[i : i + 1]) for i in range(3)])
            assert same_bits(whole, alone), f"`{name}` must treat every row as if it were alone."
            assert same_bits(f(broken)[1:], whole[1:]), f"`{name}` must keep a broken row alone."
        assert not within.contains(broken)[0], "what is not finite must not lie in the set."
        assert within.project(delta[:0]).shape == delta[:0].shape, "an empty batch must stay empty."

    # The radius

    @pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf])
    def test_bad_radius_is_refused(self, eps: float) -> None:
        """At construction, or at the first use of a schedule that returns it."""
        with pytest.raises(ValueError, match="eps"):
            self.make_set(eps)
        with pytest.raises(ValueError, match="eps"):
            self.make_set(lambda: eps).project(torch.zeros(1, *self.shape))

    def test_radius_of_another_shape_is_refused(self) -> None:
        """A radius per feature must broadcast to the features."""
        wrong = torch.full((self.shape[-1] + 1,), 0.1)
        with pytest.raises(ValueError, match="eps"):
            self.make_set(wrong).project(torch.zeros(1, *self.shape))

    def test_radius_may_change(self) -> None:
        """A callable radius is read at every use."""
        now = [0.5]
        within = self.make_set(lambda: now[0])
        far = torch.full((1, *self.shape), 2.0)
        before = within.project(far)
        now[0] = 0.0
        assert (before != 0).any(), "a radius of 0.5 must allow something."
        assert (within.project(far) == 0).all(), "the radius must be read at every use."

    # What the rules draw

    def _set(self, data: st.DataObject, *, zero: bool = True) -> PerturbationSet:
        return self.make_set(data.draw(strategies.epsilons(shape=self.shape, zero=zero)))

    def _batch(self, *, rows: int | None) -> st.SearchStrategy[Tensor]:
        return strategies.dtypes(among=strategies.FLOATS).flatmap(
            lambda dtype: strategies.observations(shape=self.shape, rows=rows, dtype=dtype)
        )

    def _deltas(self, data: st.DataObject, within: PerturbationSet, *, rows: int | None = None) -> Tensor:
        """Perturbations of the size of the radius and up to ten times larger."""
        radius = torch.as_tensor(getattr(within, "radius", 1.0)).max().item()
        return data.draw(self._batch(rows=rows)) * (radius or 1.0)

    def _some_points(self, data: st.DataObject, within: PerturbationSet, towards: Tensor) -> Tensor:
        """Points of the set, [N, *shape]: random ones, vertices, and points near `towards`."""
        seed = data.draw(strategies.seeds())
        streams = Streams.seeded(range(seed, seed + 32))
        like = torch.zeros(32, *self.shape, dtype=towards.dtype)
        scales = torch.tensor([0.1, 0.5, 1.0, 2.0, 100.0], dtype=towards.dtype)
        near = within.project(towards.expand(5, *self.shape) * scales.reshape(-1, *[1] * len(self.shape)))
        vertices = within.steepest(streams.normal(like))
        points = torch.cat([within.sample(like, streams), vertices, near])
        return self._shrunk(points)[self._inside(within, points)]

    def _shrunk(self, delta: Tensor) -> Tensor:
        return delta * _SHRINK[delta.dtype]

    def _inside(self, within: PerturbationSet, delta: Tensor) -> Tensor:
        return within.contains(self._shrunk(delta).double())

    def _scale(self, within: PerturbationSet, delta: Tensor) -> float:
        radius = torch.as_tensor(getattr(within, "radius", 1.0)).max().item()
        return float(max(radius, delta.abs().max().item() if delta.numel() else 0.0))

    def _close(self, within: PerturbationSet, a: Tensor, b: Tensor) -> bool:
        return bool(((a - b).abs() <= _TOLERANCE[a.dtype] * self._scale(within, a)).all())
