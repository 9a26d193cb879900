"""Every rule of the contract of sets catches the mistakes that it is there for."""

import pytest
import torch

from advwrap import L1Ball, L2Ball, LinfBall
from advwrap.sets.rows import flat, per_row
from advwrap.testing import SetContract
from tests.testing.catching import broken


class Rescaled(L1Ball):
    """The 'clip' of other libraries: in the ball, but not the nearest point."""

    def project(self, delta):
        norm = flat(delta).abs().sum(1)
        radius = torch.as_tensor(self.radius, dtype=delta.dtype)
        if radius.ndim:
            return super().project(delta)
        return torch.where(per_row(norm > radius, delta), delta * per_row(radius / norm, delta), delta)


class Clipped(L2Ball):
    def project(self, delta):
        return LinfBall(self.eps).project(delta)


class Uphill(LinfBall):
    def steepest(self, grad):
        return -super().steepest(grad)


class Unsigned(LinfBall):
    def steepest(self, grad):
        return super().steepest(grad.abs())


class OneRadius(LinfBall):
    """Ignores that features have radii of their own."""

    def steepest(self, grad):
        return grad.sign() * torch.as_tensor(self.radius, dtype=grad.dtype).max()


class Raw(L2Ball):
    """A gradient step without normalisation: its length is that of the gradient."""

    def steepest(self, grad):
        return self.project(grad)


class Slanted(L2Ball):
    """Steps towards the best vertex of an ellipsoid, and comes back by the Euclidean projection."""

    def project_in_radii(self, delta):
        return self.project(delta)


class Vanishing(L2Ball):
    """Squares of small float32 numbers are 0, and so is this direction."""

    def steepest(self, grad):
        length = per_row(flat(grad).square().sum(1).sqrt(), grad)
        return torch.where(length > 0, super().steepest(grad), torch.zeros_like(grad))


class Wide(LinfBall):
    def sample(self, like, streams):
        return super().sample(like, streams) * 1.01


class Constant(LinfBall):
    def sample(self, like, streams):
        return self.steepest(torch.ones_like(like))


class Shared(LinfBall):
    """One sequence for the whole batch: a row depends on where it stands."""

    def sample(self, like, streams):
        noise = torch.rand(like.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
        return (noise * self.radius).to(like.dtype)


class WholeBatch(L2Ball):
    def contains(self, delta):
        return super().contains(delta) & (delta.abs().max() < torch.inf if delta.numel() else True)


class Spreading(L2Ball):
    """The norm of the batch instead of that of the row."""

    def project(self, delta):
        return super().project(delta) + 0 * delta.sum()


class Absolute(LinfBall):
    def __post_init__(self):
        if not callable(self.eps):
            object.__setattr__(self, "eps", abs(torch.nan_to_num(torch.as_tensor(self.eps))))


class Average(LinfBall):
    """Takes radii of any shape."""

    def project(self, delta):
        eps = float(torch.as_tensor(self.radius).mean())
        return delta.clamp(-eps, eps)


class Frozen(LinfBall):
    """Reads a schedule once."""

    def __post_init__(self):
        super().__post_init__()
        if callable(self.eps):
            object.__setattr__(self, "eps", self.eps())


class Hollow(LinfBall):
    """Not solid: nothing small but 0 is allowed."""

    def contains(self, delta):
        size = flat(delta).abs().amax(1)
        return super().contains(delta) & ((size == 0) | (size > 0.05 * torch.as_tensor(self.radius).max()))


class Strict(LinfBall):
    """Without its border, and without 0 where the radius is 0."""

    def contains(self, delta):
        return flat(delta.abs() < torch.as_tensor(self.radius)).all(1)


class Doubling(LinfBall):
    def project(self, delta):
        return super().project(delta).double()


class Nudging(LinfBall):
    """Moves feasible points."""

    def project(self, delta):
        return super().project(delta) * 0.999


class Anything(LinfBall):
    def contains(self, delta):
        return flat(~delta.isfinite() | (delta.abs() <= torch.as_tensor(self.radius))).all(1)


RULES = {
    "test_holds_zero": [Strict],
    "test_projection_lies_in_the_set": [Clipped, Doubling],
    "test_points_of_the_set_stay": [Nudging],
    "test_is_solid": [Hollow],
    "test_projection_is_nearest": [Rescaled, Nudging],
    "test_projection_does_not_spread": [],
    "test_steepest_is_best": [Uphill, Unsigned, OneRadius, Raw],
    "test_walk_reaches_the_best_point": [Slanted, Uphill],
    "test_steepest_does_not_depend_on_the_size_of_the_gradient": [Vanishing, Raw],
    "test_samples_fill_the_set": [Wide, Constant, Shared],
    "test_rows_are_independent": [Spreading, WholeBatch, Anything],
    "test_radius_of_another_shape_is_refused": [Average],
    "test_radius_may_change": [Frozen],
}


@pytest.mark.parametrize(
    ("rule", "kind"),
    [(rule, kind) for rule, kinds in RULES.items() for kind in kinds],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_broken_sets_are_caught(rule, kind):
    class Contract(SetContract):
        def make_set(self, eps):
            return kind(eps)

    broken(Contract(), rule)


def test_spreading_projection_is_caught():
    class Snapping(LinfBall):
        """To the nearest of few points: not convex, so near points are torn apart."""

        def project(self, delta):
            return (
                (super().project(delta) * 10 / torch.as_tensor(self.radius)).round() / 10 * torch.as_tensor(self.radius)
            )

    class Contract(SetContract):
        def make_set(self, eps):
            return Snapping(eps)

    broken(Contract(), "test_projection_does_not_spread")


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
def test_set_that_takes_any_radius_is_caught(eps):
    class Contract(SetContract):
        def make_set(self, eps):
            return Absolute(eps)

    broken(Contract(), "test_bad_radius_is_refused", eps)
