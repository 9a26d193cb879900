"""The networks of trained agents."""

from __future__ import annotations

import torch

from advwrap.training.agent_networks import tanh_mlp


def test_orthogonal_weights() -> None:
    net = tanh_mlp(6, 2, (6,), last=0.01)
    torch.testing.assert_close(net[0].weight @ net[0].weight.T, 2 * torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(net[2].weight @ net[2].weight.T, 1e-4 * torch.eye(2), atol=1e-9, rtol=0)
    assert not net[0].bias.any()
