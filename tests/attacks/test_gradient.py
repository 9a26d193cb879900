"""The loop itself: recorded starts and noise, steps, errors, other shapes."""

import weakref

import pytest
import torch

from advwrap import FGSM, PGD, ActionShift, Bounds, L2Ball, Langevin, LinfBall, LowValue
from advwrap.attacks.ascent import ascend, better, gradient
from advwrap.attacks.region import region
from advwrap.errors import GradientError
from advwrap.randomness import Streams
from advwrap.sets import UNBOUNDED

QUADRATIC = LowValue(value=lambda o: -o.square().sum(-1))


def test_steps_are_those_of_the_formula():
    """x <- P(x + a eps sign(g)), three times, by hand."""
    clean = torch.tensor([[0.0, 0.0]])
    start = torch.tensor([[0.1, -0.02]])
    x = ascend(QUADRATIC(clean), region(clean, LinfBall(0.3), UNBOUNDED), start, steps=3, step_size=0.25)
    expected = torch.tensor([[0.1 + 3 * 0.075, -0.02 - 3 * 0.075]]).clamp(-0.3, 0.3)
    assert torch.allclose(x, expected)


def test_step_sizes_may_be_a_function_of_the_iteration():
    clean, start = torch.zeros(1, 1), torch.tensor([[0.01]])
    sizes = []

    def size(i):
        sizes.append(i)
        return 0.1 / (i + 1)

    x = ascend(QUADRATIC(clean), region(clean, LinfBall(1.0), UNBOUNDED), start, steps=3, step_size=size)
    assert sizes == [0, 1, 2]
    assert x.item() == pytest.approx(0.01 + 0.1 + 0.05 + 0.1 / 3)


def test_langevin_is_replayed_from_its_normals():
    """The schedule sqrt(2 h / beta) / (i + 2), by hand, for the gradient of a linear score."""
    objective = LowValue(value=lambda o: -o @ torch.tensor([1.0, -0.1]))
    attack = Langevin(objective, within=LinfBall(0.5), steps=3, step_size=0.1, beta=2.0)
    generator = torch.Generator().manual_seed(0)
    normals = [torch.randn(4, 2, generator=generator) for _ in range(4)]
    x = torch.zeros(4, 2) + 0.05 * normals[0].sign()
    grad = torch.tensor([1.0, -0.1])
    for i in range(3):
        noisy = grad + (2 * 0.05 / 2.0) ** 0.5 / (i + 2) * normals[i + 1]
        x = (x + 0.05 * noisy.sign()).clamp(-0.5, 0.5)
    assert torch.allclose(attack.run(torch.zeros(4, 2), normals), x, atol=1e-6)


def test_langevin_noise_fades_as_the_reference_does():
    """The noise of iteration i has the deviation sqrt(2 h / beta) / (i + 2): seen through a set that passes it on."""

    class Whole(LinfBall):
        def steepest(self, grad):
            return grad

        def project(self, delta):
            return delta

    objective = LowValue(value=lambda o: 0 * o.sum(-1))
    normals = [torch.zeros(1, 2), *(torch.eye(3)[i, :2][None] for i in range(2)), torch.zeros(1, 2)]
    x = Langevin(objective, within=Whole(1e3), steps=3, step_size=1.0, beta=2.0).run(torch.zeros(1, 2), normals)
    assert x[0].tolist() == pytest.approx([1e3**0.5 / 2, 1e3**0.5 / 3], rel=1e-5)


def test_random_start_is_a_share_of_the_set():
    stay = PGD(LowValue(value=lambda o: 0 * o.sum(-1)), within=L2Ball(1.0), steps=1, random_start=0.1)
    moved = stay(torch.zeros(200, 3), generator=Streams.seeded(range(200)))
    assert moved.norm(dim=1).max() <= 0.1
    assert moved.norm(dim=1).max() > 0.09


def test_zero_start_of_a_divergence_goes_nowhere():
    """Why the random start is the default."""
    clean = torch.ones(2, 3)
    attack = PGD(ActionShift(lambda o: o), within=LinfBall(0.1), random_start=0.0)
    assert torch.equal(attack(clean), clean)
    assert not torch.equal(PGD(ActionShift(lambda o: o), within=LinfBall(0.1))(clean), clean)


def test_last_iterate_may_be_worse_than_the_best():
    """A step across the maximum: the best iterate is kept on request."""
    peak = LowValue(value=lambda o: (o - 0.1).square().sum(-1))
    last, best = (
        PGD(peak, within=LinfBall(1.0), steps=7, step_size=0.9, best=b)(
            torch.zeros(8, 1), generator=Streams.seeded(range(8))
        )
        for b in (False, True)
    )
    assert ((best - 0.1).abs() <= (last - 0.1).abs()).all()
    assert ((best - 0.1).abs() <= 0.1 + 1e-6).all()  # no worse than the clean input


def test_bounds_hold_at_every_step():
    """The victim is never asked about an observation that its environment cannot show."""
    asked = []

    def value(o):
        asked.append(o.detach().clone())
        return o.sum(-1)

    bounds = Bounds(-0.2, 0.1)
    PGD(LowValue(value=value), within=LinfBall(1.0), best=True)(torch.zeros(3, 2), bounds=bounds)
    assert torch.cat(asked).min() >= -0.2
    assert torch.cat(asked).max() <= 0.1


def test_image_rows():
    attack = PGD(LowValue(value=lambda o: o.sum((1, 2, 3))), within=LinfBall(0.1))
    assert torch.allclose(attack(torch.ones(2, 4, 4, 3)), torch.full((2, 4, 4, 3), 0.9))


def test_rows_of_one_number():
    """A batch of scalars: one feature without an axis of its own."""
    attack = PGD(LowValue(value=lambda o: o), within=LinfBall(0.1))
    assert torch.allclose(attack(torch.ones(3)), torch.full((3,), 0.9))


@pytest.mark.parametrize(
    "value",
    [
        lambda o: o.detach().sum(-1),
        lambda o: torch.ones(len(o), requires_grad=True) * 1.0,
        lambda o: o.round().argmax(-1).float(),
    ],
    ids=["detached", "elsewhere", "argmax"],
)
def test_victims_without_gradient_are_named(value):
    for attack in (FGSM(LowValue(value=value), within=LinfBall(0.1)), PGD(LowValue(value=value), within=LinfBall(0.1))):
        with pytest.raises(GradientError, match=r"no gradient with respect to the attacked input.*Search"):
            attack(torch.zeros(2, 3))


@pytest.mark.parametrize("bad", [lambda o: o.sum(), lambda o: o, lambda o: o.sum(0, keepdim=True)])
def test_scores_that_are_not_one_per_row_are_named(bad):
    """Searches without gradients check it as well."""
    from advwrap import RandomSearch, Search

    def objective(clean, context=None):
        return bad

    for attack in (
        PGD(objective, within=LinfBall(0.1)),
        Search(objective, within=LinfBall(0.1), strategy=RandomSearch(2)),
    ):
        with pytest.raises(ValueError, match="one score per row"):
            attack(torch.zeros(2, 3))


def test_gradient_of_a_broken_row_is_zero():
    x = torch.tensor([[1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0]])
    grad = gradient(lambda o: o.square().sum(-1), x)
    assert grad[0].tolist() == [2.0, 4.0]
    assert grad.isfinite().all()


def test_better_compares_in_the_precision_of_the_scores():
    """A gain of 1e-12 is one in float64; NaN is none; the score returned is that of the point returned."""
    x, best = torch.ones(4, 1), torch.zeros(4, 1)
    value = torch.tensor([1.0 + 1e-12, 1.0, 1.0 - 1e-12, float("nan")], dtype=torch.float64)
    point, highest = better(x, value, best, torch.ones(4, dtype=torch.float64))
    assert point.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert highest.tolist() == [1.0 + 1e-12, 1.0, 1.0, 1.0]
    _, highest = better(x, value, best, torch.full((4,), -torch.inf))
    assert highest[0].item() == 1.0 + 1e-12  # a float32 start does not round what comes later


def test_memory_does_not_grow_with_the_steps():
    """Every iterate is a leaf, so no graph of an earlier step hangs on it; and the earlier ones are gone."""
    seen, alive = [], []

    def value(o):
        seen.append((o.grad_fn, weakref.ref(o)))
        alive.append(sum(iterate() is not None for _, iterate in seen))
        return o.sum(-1)

    PGD(LowValue(value=value), within=LinfBall(0.1), steps=20)(torch.zeros(1, 2))
    assert [graph for graph, _ in seen] == [None] * 20
    assert max(alive) <= 2
