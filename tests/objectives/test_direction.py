"""The objective of PA-AD: how far the action moves, and how well along the director's direction."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from advwrap.attacks.ascent import gradient
from advwrap.objectives import TowardsDirection
from advwrap.objectives.direction import COMMAND
from advwrap.testing.contracts.objectives import ObjectiveContract
from advwrap.testing.victims import ElementwisePolicy
from advwrap.victims import Categorical

# A heading is as good as the digits that are left of a small difference: a victim without rounding of its own.
NET = ElementwisePolicy(torch.tensor([1.0, -2.0, 0.5]))


class TestTowardsDirection(ObjectiveContract):
    dtypes = (torch.float64,)
    row_tolerance = 0.0

    def make_objective(self):
        return TowardsDirection(NET, torch.tensor([1.0, -0.5, 0.2]))

    def modules(self):
        return [NET]


class TestCommanded(ObjectiveContract):
    def make_objective(self):
        return TowardsDirection(NET, reference_sign=True)

    def context(self, rows):
        return {COMMAND: torch.tensor([0.3, 0.4, -1.0]).expand(rows, 3)}


class Opaque(nn.Module):
    """The same network, of which nothing is known."""

    def forward(self, x):
        return mlp()(x)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2)).double()


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 10))
def test_value_and_gradient_are_those_of_the_formula(seed, scale):
    net, draw = mlp(), torch.Generator().manual_seed(seed)
    clean, direction = (torch.randn(4, n, generator=draw, dtype=torch.float64) for n in (3, 2))
    x = clean + scale * torch.randn(4, 3, generator=draw, dtype=torch.float64)
    # As the reference code writes it: the loss is minus this.
    leaf = x.clone().requires_grad_()
    moved = net(leaf) - net(clean).detach()
    expected = F.cosine_similarity(moved, direction, dim=-1) + moved.norm(dim=-1)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    for sign, reference_sign in ((1, False), (-1, True)):
        f = TowardsDirection(net, direction, reference_sign=reference_sign)(clean)
        torch.testing.assert_close(f(x), sign * expected.detach(), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(gradient(f, x), sign * slope, rtol=1e-6, atol=1e-7)


def test_where_nothing_moved_there_is_no_cosine_and_no_slope():
    clean = torch.randn(3, 3, dtype=torch.float64)
    for net in (mlp(), Opaque()):  # known as a chain, and through autograd
        f = TowardsDirection(net, torch.ones(2))(clean)
        torch.testing.assert_close(f(clean), torch.zeros(3, dtype=torch.float64))
        assert torch.equal(gradient(f, clean), torch.zeros(3, 3, dtype=torch.float64))


def test_only_the_heading_of_the_direction_counts():
    clean, x, d = torch.zeros(2, 3), torch.randn(2, 3), torch.tensor([3.0, -1.0])
    net = mlp().float()
    one, other = (TowardsDirection(net, length * d)(clean)(x) for length in (1e-4, 7.0))
    torch.testing.assert_close(one, other)


def test_the_direction_of_a_row_comes_from_the_context():
    clean, x = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    f = TowardsDirection(lambda obs: obs)(clean, {COMMAND: torch.tensor([[1.0, 0.0], [-1.0, 0.0]])})
    assert f(x).tolist() == [2.0, 0.0]


def test_a_discrete_policy_is_moved_in_its_probabilities():
    f = TowardsDirection(Categorical(lambda obs: obs), torch.tensor([1.0, -1.0]))(torch.zeros(2, 2))
    right, left = f(torch.tensor([[2.0, -2.0], [-2.0, 2.0]]))
    assert right > 1 > -0.1 > left


@pytest.mark.parametrize(
    ("direction", "message"), [(None, "Steered"), (torch.ones(3), r"\(2, 2\)"), (torch.ones(5, 2), "2")]
)
def test_what_cannot_be_a_direction_is_an_error(direction, message):
    with pytest.raises(ValueError, match=message):
        TowardsDirection(lambda obs: obs, direction)(torch.zeros(2, 2))
