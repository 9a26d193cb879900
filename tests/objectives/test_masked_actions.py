"""Actions that a mask forbids are neither sought nor counted."""

import pytest
import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import MaskedCategorical, ProbabilisticActor

from advwrap import PGD, GapAbove, LinfBall, SeekAction, Streams

ALLOWED = torch.tensor([[True, True, False, True]])


@pytest.fixture
def actor():
    net = nn.Linear(3, 4, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [-9, -9, -9], [0, 0, 1]]))
    return ProbabilisticActor(
        TensorDictModule(net, in_keys=["observation"], out_keys=["logits"]),
        in_keys={"logits": "logits", "mask": "action_mask"},
        distribution_class=MaskedCategorical,
    )


def test_the_least_likely_allowed_action_is_sought(actor):
    clean, context = torch.tensor([[3.0, 2.0, 1.0]]), {"action_mask": ALLOWED}
    score = SeekAction(actor)(clean, context)
    expected = clean.log_softmax(-1)[:, 2]  # logits are the observation where they are allowed
    torch.testing.assert_close(score(clean).detach(), expected)
    x = PGD(SeekAction(actor), within=LinfBall(0.5))(clean, context=context, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x, torch.tensor([[2.5, 1.5, 1.5]]))


def test_the_gap_is_that_of_allowed_actions(actor):
    even = torch.ones(1, 3)  # every allowed action has probability 1/3, the forbidden one 0
    assert GapAbove(actor, 0.01)(even, {"action_mask": ALLOWED}, Streams.seeded([0])).tolist() == [False]
