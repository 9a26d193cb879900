"""Every rule of the contract of objectives catches the mistakes that it is there for."""

import pytest

from advwrap import ActionShift
from advwrap.testing import ObjectiveContract
from advwrap.testing.stateful_victims import BatchNormPolicy
from tests.testing.catching import broken

NET = BatchNormPolicy(3, 2)
SHIFT = ActionShift(NET)


def mean_of_the_batch(clean, context=None):
    return lambda x: SHIFT(clean, context)(x).mean()


def per_feature(clean, context=None):
    return lambda x: (x - clean).square()


def careless(clean, context=None):
    """Runs the victim as it is: in train mode, with dropout, updating its statistics."""
    return lambda x: NET(x).sum(-1)


def integers(clean, context=None):
    return lambda x: SHIFT(clean, context)(x).long()


def infinite(clean, context=None):
    return lambda x: 1 / (x - clean).square().sum(-1)


def steep(clean, context=None):
    """Finite, but its gradient is not."""
    return lambda x: (x - clean).square().sum(-1).sqrt()


def writing(clean, context=None):
    def score(x):
        x.data.add_(1.0)
        return (x - clean).square().sum(-1)

    return score


def detached(clean, context=None):
    return lambda x: (x.detach() - clean).square().sum(-1) + 0 * x.sum(-1)


def normalised(clean, context=None):
    """Relative to the batch."""

    def score(x):
        value = (x - clean).square().sum(-1)
        return value / (1 + value.nan_to_num(0.0, 0.0).sum())

    return score


def spreading(clean, context=None):
    return lambda x: (x - clean).square().sum(-1) + 0 * x.sum()


def indexing(clean, context=None):
    return lambda x: (x - clean).square().sum(-1) + 0 * x[0, 0]


def forgetful():
    """One slot for the clean input, shared by everything that is bound."""
    slot = []

    def objective(clean, context=None):
        slot[:] = [clean]
        return lambda x: (x - slot[0]).square().sum(-1)

    return objective


RULES = {
    "test_one_finite_score_per_row": [mean_of_the_batch, per_feature, careless, integers, infinite, steep, writing],
    "test_gradient_is_not_zero_everywhere": [detached],
    "test_rows_are_independent": [normalised, spreading],
    "test_bindings_are_independent": [forgetful()],
}


@pytest.mark.parametrize(
    ("rule", "kind"),
    [(rule, kind) for rule, kinds in RULES.items() for kind in kinds],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_broken_objectives_are_caught(rule, kind):
    class Contract(ObjectiveContract):
        def make_objective(self):
            return kind

        def modules(self):
            return [NET]

    broken(Contract(), rule)


def test_objective_that_needs_a_row_is_caught():
    class Contract(ObjectiveContract):
        def make_objective(self):
            return indexing

    with pytest.raises(IndexError):
        Contract().test_empty_batch_has_no_scores()
