"""The network of the learned adversary."""

import copy

import pytest
import torch

from advwrap import Learned, LinfBall, Streams
from advwrap.modules import GaussianAdversary
from advwrap.modules.streams import CallStreams
from advwrap.victims import as_policy

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def made(seed=0, **options):
    return GaussianAdversary(3, generator=torch.Generator().manual_seed(seed), **options)


def test_architecture():
    net = made()
    loc, scale = net(X)
    assert loc.shape == scale.shape == X.shape
    assert (scale > 0).all()
    shapes = [tuple(p.shape) for p in net.parameters()]
    assert shapes == [(256, 3), (256,), (256, 256), (256,), (6, 256), (6,)]
    assert [tuple(p.shape) for p in made(hidden=()).parameters()] == [(6, 3), (6,)]
    assert repr(made(hidden=(8,))) == "GaussianAdversary(3, hidden=(8,))"


def test_starts_near_uniform_noise():
    loc, scale = made()(X)
    assert loc.abs().max() < 0.3
    assert (scale - 1).abs().max() < 0.3


def test_attacks_read_it_as_a_squashed_normal():
    net = made(hidden=(8,))
    policy = as_policy(net)
    loc, scale = net(X)
    torch.testing.assert_close(policy.mean(X), loc.tanh())
    action, log_prob = policy.draw(X, Streams.seeded(range(6)).normal)
    z = loc + scale * Streams.seeded(range(6)).normal(loc)
    torch.testing.assert_close(action, z.tanh())
    expected = torch.distributions.Normal(loc, scale).log_prob(z) - torch.log1p(-z.tanh().square())
    torch.testing.assert_close(log_prob, expected.sum(-1), rtol=1e-4, atol=1e-4)
    attack = Learned(net, within=LinfBall(0.5))
    torch.testing.assert_close(attack(X), X + 0.5 * loc.tanh())


def test_weights_are_read_live():
    net = made(hidden=(8,))
    attack = Learned(net, within=LinfBall(0.5))
    before = attack(X)
    with torch.no_grad():
        net.net[-2].bias.add_(1.0)
    assert (attack(X) > before).all()
    net.load_state_dict(made(1, hidden=(8,)).state_dict())
    torch.testing.assert_close(attack(X), Learned(made(1, hidden=(8,)), within=LinfBall(0.5))(X))


class TestReset:
    def test_in_place(self):
        """The parameters stay the same objects: optimisers and compiled graphs hold them."""
        net = made()
        before = [(p, p.data_ptr(), p.clone()) for p in net.parameters()]
        net.reset_parameters(torch.Generator().manual_seed(1))
        for p, (same, pointer, old) in zip(net.parameters(), before, strict=True):
            assert p is same
            assert p.data_ptr() == pointer
            assert p.requires_grad
            assert not torch.equal(p, old)

    def test_the_distribution_is_that_of_a_new_network(self):
        torch.manual_seed(0)
        fresh, reset = GaussianAdversary(64), GaussianAdversary(64)
        with torch.no_grad():
            for p in reset.parameters():
                p.fill_(9.0)
        reset.reset_parameters()
        for a, b in zip(fresh.state_dict().values(), reset.state_dict().values(), strict=True):
            assert float(a.std()) == pytest.approx(float(b.std()), rel=0.2)
            assert float(b.abs().max()) <= 64**-0.5

    def test_seeds(self):
        assert all(torch.equal(a, b) for a, b in zip(made(3).parameters(), made(3).parameters(), strict=True))
        net = made()
        state = torch.get_rng_state()
        net.reset_parameters(torch.Generator().manual_seed(3))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), made(3).parameters(), strict=True))


@pytest.mark.parametrize("options", [{"features": 0}, {"features": 2, "hidden": (0,)}])
def test_sizes(options):
    with pytest.raises(ValueError, match=r"`(features|hidden)` must"):
        GaussianAdversary(**options)


class TestCallStreams:
    def test_calls_and_rows_have_their_own(self):
        streams = CallStreams(0)
        first, second = (streams(4).uniform(torch.zeros(4)) for _ in range(2))
        assert len(torch.cat([first, second]).unique()) == 8
        assert torch.equal(CallStreams(0)(4).uniform(torch.zeros(4)), first)
        assert not torch.equal(CallStreams(1)(4).uniform(torch.zeros(4)), first)
        assert not torch.equal(CallStreams()(4).uniform(torch.zeros(4)), CallStreams()(4).uniform(torch.zeros(4)))
        # A row does not depend on how many there are.
        assert torch.equal(CallStreams(0)(2).uniform(torch.zeros(2)), first[:2])

    def test_state(self):
        streams = CallStreams(0)
        streams(4)
        other = CallStreams(5)
        other.load_state_dict(streams.state_dict())
        third = copy.deepcopy(streams)
        numbers = [s(4).uniform(torch.zeros(4)) for s in (streams, other, third)]
        assert torch.equal(numbers[0], numbers[1])
        assert torch.equal(numbers[0], numbers[2])
        streams.seed(0)
        assert torch.equal(streams(4).uniform(torch.zeros(4)), CallStreams(0)(4).uniform(torch.zeros(4)))
