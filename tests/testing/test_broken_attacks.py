"""Every rule of the contract of attacks catches the mistakes that it is there for."""

import pytest
import torch

from advwrap import UNBOUNDED, LinfBall, Noise
from advwrap.randomness import as_streams
from advwrap.testing import AttackContract
from advwrap.testing.victims import ElementwisePolicy
from tests.testing.catching import broken

VICTIM = ElementwisePolicy(torch.tensor([1.0, -2.0, 0.5]))


class Around:
    """A correct attack, to be broken: noise in the set."""

    def __init__(self, within):
        self.within = within
        self.calls = 0

    def __call__(self, clean, *, context=None, bounds=UNBOUNDED, generator=None):
        return Noise(self.within)(clean, context=context, bounds=bounds, generator=generator)


class Unsealed(Around):
    """clean + delta, an ulp outside."""

    def __call__(self, clean, **options):
        streams = as_streams(options.get("generator"), clean)
        return clean.detach() + self.within.steepest(streams.normal(clean))


class Boundless(Around):
    def __call__(self, clean, *, context=None, bounds=UNBOUNDED, generator=None):
        return super().__call__(clean, generator=generator)


class Widening(Around):
    def __call__(self, clean, **options):
        return super().__call__(clean, **options).double()


class Writing(Around):
    def __call__(self, clean, **options):
        adv = super().__call__(clean, **options)
        clean.detach().add_(0.0).copy_(adv)
        return adv


class Aliasing(Around):
    def __call__(self, clean, **options):
        return clean.detach()


class Remembering(Around):
    """Carries the graph of a leaf along."""

    def __call__(self, clean, **options):
        return super().__call__(clean, **options).requires_grad_()


class Backward(Around):
    """Fills the .grad of the victim."""

    def __call__(self, clean, **options):
        with torch.enable_grad():
            x = clean.detach().float().requires_grad_()
            VICTIM(x).sum().backward()
        return super().__call__(clean, **options)


class Evaluating(Around):
    def __call__(self, clean, **options):
        VICTIM.eval()
        return super().__call__(clean, **options)


class Global(Around):
    """Draws from torch's global generator."""

    def __call__(self, clean, **options):
        torch.rand(1)
        return super().__call__(clean, **options)


class Counting(Around):
    """The second call differs from the first."""

    def __call__(self, clean, **options):
        self.calls += 1
        streams = as_streams(options.pop("generator", None), clean)
        for _ in range(self.calls):
            streams.fork()
        return super().__call__(clean, generator=streams, **options)


class Unseeded(Around):
    def __call__(self, clean, *, context=None, bounds=UNBOUNDED, generator=None):
        return super().__call__(clean, bounds=bounds)


class Deterministic(Around):
    def __call__(self, clean, *, context=None, bounds=UNBOUNDED, generator=None):
        return super().__call__(clean, bounds=bounds, generator=torch.Generator().manual_seed(0))


class BatchNormalised(Around):
    """A step of the batch's gradient, divided by the norm of the whole batch."""

    def __call__(self, clean, **options):
        step = clean.detach() / clean.detach().norm().clamp_min(1e-6) * 0.01
        return clean.detach() + self.within.project(step)


class Centred(Around):
    """Subtracts a mean over the rows: one NaN reaches everybody."""

    def __call__(self, clean, **options):
        adv = super().__call__(clean, **options)
        return adv + 0 * adv.mean(0) if len(adv) else adv


class Filling(Around):
    """Replaces what is not finite."""

    def __call__(self, clean, **options):
        return super().__call__(clean, **options).nan_to_num(0.0)


class Poisoned(Around):
    """One broken feature breaks its whole row."""

    def __call__(self, clean, **options):
        adv = super().__call__(clean, **options)
        return adv + 0 * adv.sum(1, keepdim=True)


class SignLess(Around):
    """Turns -0.0 into 0.0."""

    def __call__(self, clean, **options):
        return super().__call__(clean, **options) + 0.0


class Gradients(Around):
    """Fails where gradients are switched off."""

    def __call__(self, clean, **options):
        x = clean.clone().requires_grad_()
        if len(x):
            assert x.square().sum().requires_grad, "no gradient"
        return super().__call__(clean, **options)


class Strided(Around):
    """Reads memory instead of values."""

    def __call__(self, clean, **options):
        adv = super().__call__(clean, **options)
        return adv if clean.is_contiguous() else self.within.project(adv * 0) + clean.detach()


class AnyShape(Around):
    def __call__(self, clean, **options):
        return super().__call__(clean.reshape(-1, 1).float(), **options).reshape(clean.shape).to(clean.dtype)


RULES = {
    "test_result_is_feasible": [
        Unsealed,
        Boundless,
        Widening,
        Writing,
        Aliasing,
        Remembering,
        Backward,
        Evaluating,
        Global,
    ],
    "test_no_radius_no_change": [SignLess, Filling],
    "test_seed_decides": [Counting, Unseeded, Strided],
    "test_seeds_differ": [Deterministic, Global],
    "test_rows_are_independent": [Deterministic, BatchNormalised, Unseeded],
    "test_broken_row_stays_alone": [Centred, Filling, Poisoned],
    "test_works_without_gradients": [Gradients],
    "test_scalars_and_integers_are_refused": [AnyShape],
}


@pytest.mark.parametrize(
    ("rule", "kind"),
    [(rule, kind) for rule, kinds in RULES.items() for kind in kinds],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_broken_attacks_are_caught(rule, kind):
    class Contract(AttackContract):
        def make_attack(self, within):
            return kind(within)

        def modules(self):
            VICTIM.train()
            VICTIM.zero_grad()
            return [VICTIM]

    broken(Contract(), rule)


def test_unbroken_attack_keeps_the_rules():
    """What is broken above is correct before."""

    class Contract(AttackContract):
        def make_attack(self, within):
            return Around(within)

    for rule in RULES:
        getattr(Contract(), rule)()


def test_tolerance_is_a_limit():
    class Jumping(Around):
        """Depends on the batch size by 1e-3."""

        def __call__(self, clean, **options):
            return clean.detach() + 1e-3 * (len(clean) == 1)

    class Contract(AttackContract):
        row_tolerance = 1e-4

        def make_attack(self, within):
            return Jumping(LinfBall(0.1))

    broken(Contract(), "test_rows_are_independent")
