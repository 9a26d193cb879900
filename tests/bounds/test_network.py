"""Interval bounds against brute force, closed forms and the points that they must hold."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchrl.modules import MLP

from advwrap.bounds import Box, IntervalNetwork, box_around, interval_bounds
from advwrap.sets import Bounds, L2Ball, Linear, LinfBall, Masked

ACTIVATIONS = {
    "ReLU": nn.ReLU,
    "ReLU in place": lambda: nn.ReLU(inplace=True),
    "ReLU6": nn.ReLU6,
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "Softplus": nn.Softplus,
    "Hardtanh": nn.Hardtanh,
    "Hardsigmoid": nn.Hardsigmoid,
    "Softsign": nn.Softsign,
    "SELU": nn.SELU,
    "ELU": nn.ELU,
    "ELU in place": lambda: nn.ELU(inplace=True),
    "CELU": lambda: nn.CELU(0.5),
    "LeakyReLU": nn.LeakyReLU,
    "LeakyReLU that falls": lambda: nn.LeakyReLU(-0.5),
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
    "GELU by tanh": lambda: nn.GELU("tanh"),
    "Mish": nn.Mish,
    "Identity": nn.Identity,
}
every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(sizes, name="Tanh", seed=0, dtype=torch.float64):
    """Weights of order 1, so that activations leave their linear part."""
    layers = []
    for i, (size, following) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(size, following, dtype=dtype)
        linear.weight.data.copy_(draw(following, size, seed=seed + 2 * i))
        linear.bias.data.copy_(draw(following, seed=seed + 2 * i + 1))
        layers += [linear, ACTIVATIONS[name]()]
    return nn.Sequential(*layers[:-1])


def ball(x, radius):
    return Box(x - radius, x + radius)


def vertices(box):
    """Every corner of the box of one row, [2^d, d]."""
    ends = zip(box.low[0].tolist(), box.high[0].tolist(), strict=True)
    return torch.tensor(list(itertools.product(*ends)), dtype=box.low.dtype)


def points_of(box, count=64, seed=0):
    """Corners at random, and points in between, [count, B, d]."""
    share = torch.rand(count, *box.low.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share[::2] = share[::2].round()
    return box.low + share.to(box.low) * box.width


@every_activation
@given(seed=st.integers(0, 2**20), hidden=st.lists(st.integers(1, 8), max_size=3), radius=st.floats(0, 3))
def test_no_point_leaves_the_bounds(name, seed, hidden, radius):
    net = network([3, *hidden, 2], name, seed)
    box = ball(draw(4, 3, seed=seed + 99), radius)
    outputs = IntervalNetwork(net)(box)
    with torch.no_grad():
        reached = net(points_of(box, seed=seed))
    assert outputs.contains(reached, within=1e-12 * (1 + float(reached.abs().max()))).all()


@given(
    name=st.sampled_from(sorted(ACTIVATIONS)), seed=st.integers(0, 2**20), small=st.floats(0, 2), more=st.floats(0, 2)
)
def test_a_larger_box_has_wider_bounds(name, seed, small, more):
    net, x = network([3, 5, 2], name, seed), draw(4, 3, seed=seed + 99)
    inner, outer = (IntervalNetwork(net)(ball(x, radius)) for radius in (small, small + more))
    assert outer.contains(inner.low, within=1e-12).all()
    assert outer.contains(inner.high, within=1e-12).all()


@every_activation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_point_gives_the_bits_of_the_network(name, dtype):
    net, x = network([3, 6, 6, 2], name, dtype=dtype), draw(5, 3, seed=7).to(dtype)
    kept = x.clone()
    low, high = interval_bounds(net, x, x)
    assert torch.equal(low, net(x))
    assert torch.equal(high, net(x))
    assert torch.equal(x, kept)


def test_an_activation_in_place_at_the_start_changes_no_input():
    x = torch.tensor([[-1.0, 2.0]])
    low, high = interval_bounds(nn.Sequential(nn.ELU(inplace=True), nn.Tanh()), x, x)
    assert x.tolist() == [[-1.0, 2.0]]
    assert torch.equal(low, nn.functional.elu(x).tanh())
    assert torch.equal(high, low)


@given(seed=st.integers(0, 2**20), radius=st.floats(0, 10))
def test_one_affine_layer_is_exact(seed, radius):
    net, box = network([4, 3], seed=seed), ball(draw(1, 4, seed=seed + 99), radius)
    reached = net(vertices(box))  # an affine function is extreme at a corner
    low, high = interval_bounds(net, *box)
    torch.testing.assert_close(low[0], reached.amin(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(high[0], reached.amax(0), rtol=1e-12, atol=1e-12)


@every_activation
@given(seed=st.integers(0, 2**20), radius=st.floats(0.01, 4))
def test_one_feature_and_an_activation_are_exact(name, seed, radius):
    net = nn.Sequential(*network([1, 3], seed=seed), ACTIVATIONS[name]())
    box = ball(draw(1, 1, seed=seed + 99), radius)
    grid = box.low + torch.linspace(0, 1, 1001, dtype=torch.float64).unsqueeze(1) * box.width
    reached = net(grid)
    low, high = interval_bounds(net, *box)
    slack = 4e-3 * radius * 8  # half a cell of the grid, times a generous slope
    assert (low[0] <= reached.amin(0) + 1e-12).all()
    assert (low[0] >= reached.amin(0) - slack).all()
    assert (high[0] >= reached.amax(0) - 1e-12).all()
    assert (high[0] <= reached.amax(0) + slack).all()


@pytest.mark.parametrize("name", ["ReLU", "Tanh", "ELU", "SiLU"])
@pytest.mark.parametrize("seed", range(4))
def test_two_features_on_a_grid(name, seed):
    net, box = network([2, 4, 4, 1], name, 10 * seed), ball(draw(1, 2, seed=seed), 0.3)
    ends = zip(box.low[0].tolist(), box.high[0].tolist(), strict=True)
    axes = [torch.linspace(*end, 201, dtype=torch.float64) for end in ends]
    reached = net(torch.cartesian_prod(*axes))
    low, high = interval_bounds(net, *box)
    # At a corner both are one number, which matrix products of other shapes round differently.
    assert low <= reached.min() + 1e-12
    assert high >= reached.max() - 1e-12
    # Sound is easy with infinite bounds: these are at most the product of the layers' norms wide.
    slope = torch.ones(1, 2, dtype=torch.float64)
    for layer in reversed([layer for layer in net if isinstance(layer, nn.Linear)]):
        slope = (slope[:, : layer.out_features] if slope.shape[1] != layer.out_features else slope) @ layer.weight.abs()
    assert high - low <= 1.1 * slope.sum() * 2 * 0.3 + 1e-9


def test_an_exact_number():
    """By hand: z = (x - y, x + y), h = relu(z), out = h_1 - h_2, x and y in [-1, 1]."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    net[0].weight.data.copy_(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    net[2].weight.data.copy_(torch.tensor([[1.0, -1.0]]))
    low, high = interval_bounds(net, -torch.ones(1, 2), torch.ones(1, 2))
    assert (low.item(), high.item()) == (-2.0, 2.0)  # z in [-2, 2]^2, h in [0, 2]^2


def test_the_bounds_of_dependent_features_are_loose():
    """Known weakness: x - x is bounded by [-2, 2] and is 0."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    net[0].weight.data.copy_(torch.ones(2, 1))
    net[1].weight.data.copy_(torch.tensor([[1.0, -1.0]]))
    low, high = interval_bounds(net, -torch.ones(1, 1), torch.ones(1, 1))
    assert (low.item(), high.item()) == (-2.0, 2.0)


@pytest.mark.parametrize("name", ["Tanh", "SiLU", "Softplus"])
def test_gradients_of_weights_and_ends_agree_with_differences(name):
    net = network([2, 3, 1], name, seed=3)
    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    x, radius = draw(2, 2, seed=5), torch.full((2, 2), 0.4, dtype=torch.float64)

    def width(x, radius, *weights):
        rebuilt = network([2, 3, 1], name)
        for linear, weight, bias in zip([rebuilt[0], rebuilt[2]], weights[::2], weights[1::2], strict=True):
            del linear.weight, linear.bias
            linear.weight, linear.bias = weight, bias
        return tuple(IntervalNetwork(rebuilt)(Box(x - radius, x + radius)))

    assert torch.autograd.gradcheck(width, (x.requires_grad_(), radius.requires_grad_(), *weights))


def test_training_on_the_bounds_narrows_them():
    net, x = network([3, 16, 1], seed=1, dtype=torch.float32), draw(32, 3, seed=2).float()
    bounds, optimiser = IntervalNetwork(net), torch.optim.Adam(net.parameters(), lr=1e-2)
    before = bounds(ball(x, 0.2)).width.mean().item()
    for _ in range(50):
        loss = bounds(ball(x, 0.2)).width.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert bounds(ball(x, 0.2)).width.mean().item() < before / 3  # live weights


def test_sequences_inside_sequences_and_the_mlp_of_torchrl():
    inner = network([3, 4, 4], seed=1)
    nested = nn.Sequential(inner, nn.Sequential(nn.Tanh(), network([4, 2], seed=5)))
    flat = nn.Sequential(*inner, nn.Tanh(), *network([4, 2], seed=5))
    box = ball(draw(3, 3, seed=3), 0.1)
    assert torch.equal(IntervalNetwork(nested)(box).low, IntervalNetwork(flat)(box).low)
    mlp = MLP(3, 2, num_cells=[8], activation_class=nn.ELU).double()
    assert IntervalNetwork(mlp)(box).contains(mlp(box.centre)).all()


def test_dropout_is_off_and_doubles_reach_a_float_network():
    net = network([3, 4, 2], dtype=torch.float32)
    dropping = nn.Sequential(net[0], net[1], nn.Dropout(0.5), net[2]).train()
    box = ball(draw(3, 3, seed=3), 0.1)
    assert torch.equal(IntervalNetwork(dropping)(box).low, IntervalNetwork(net)(box).low)


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "LayerNorm"),
        (nn.Sequential(nn.Linear(2, 2), nn.ELU(-1.0)), "ELU"),
        (nn.Bilinear(2, 2, 1), "Bilinear"),
        (lambda x: x, "function"),
    ],
)
def test_what_is_not_known_is_refused(net, what):
    with pytest.raises(TypeError, match=what):
        IntervalNetwork(net)


def test_a_hook_is_refused():
    net = network([2, 2, 1])
    net[1].register_forward_hook(lambda module, inputs, output: -output)
    with pytest.raises(TypeError, match="hooks"):
        IntervalNetwork(net)


def test_boxes():
    box = Box(torch.tensor([[0.0, -1.0]]), torch.tensor([[2.0, -1.0]]))
    assert box.centre.tolist() == [[1.0, -1.0]]
    assert box.radius.tolist() == [[1.0, 0.0]]
    assert box.width.tolist() == [[2.0, 0.0]]
    assert box.contains(torch.tensor([[2.0, 0.0]])).tolist() == [[True, False]]
    assert box.contains(torch.tensor([[2.05, -1.05]]), within=0.1).all()
    assert box.clamp(torch.tensor([[5.0, -7.0]])).tolist() == [[2.0, -1.0]]
    assert Box.point(box.low).width.eq(0).all()


def test_the_ball_as_a_box():
    x = torch.tensor([[0.0, 0.95], [1.0, -3.0]])
    low, high = box_around(x, LinfBall(torch.tensor([0.1, 0.2])), Bounds(-1.0, 1.0))
    torch.testing.assert_close(low, torch.tensor([[-0.1, 0.75], [0.9, -3.0]]))  # an outlier stays reachable
    torch.testing.assert_close(high, torch.tensor([[0.1, 1.0], [1.0, -2.8]]))
    masked = box_around(x, Masked(LinfBall(0.1), torch.tensor([True, False])))
    assert masked.width[:, 1].eq(0).all()
    radius = Linear(0.0, 1.0, steps=10)
    growing = LinfBall(radius)
    radius.advance(5)
    torch.testing.assert_close(box_around(x, growing).radius, torch.full_like(x, 0.5))
    with pytest.raises(TypeError, match="L2Ball"):
        box_around(x, L2Ball(0.1))
