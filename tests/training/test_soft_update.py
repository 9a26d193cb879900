"""Targets that follow in one call: the numbers of TorchRL's `SoftUpdate`."""

import pytest
import torch
from torch import nn
from torchrl.modules import QValueActor, ValueOperator
from torchrl.objectives import DQNLoss, SoftUpdate

from advwrap.algorithms import SAC, TD3
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.losses import RobustCriticLoss
from advwrap.sets import LinfBall
from advwrap.training.soft_update import FusedSoftUpdate


@pytest.mark.parametrize("learner", [SAC, TD3])
def test_the_numbers_are_torchrls(learner):
    """Twin critics, stacked, and for TD3 the actor; the weights move in between."""
    ours, theirs = (OffPolicyTraining(learner("Pendulum-v1", hidden=(8,), seed=0)).learner for _ in range(2))
    assert isinstance(ours.updater, FusedSoftUpdate)
    plain = SoftUpdate(theirs.loss, tau=theirs.tau)
    for step in range(5):
        for loss in (ours.loss, theirs.loss):
            for i, param in enumerate(loss.parameters()):
                param.data.add_(torch.full_like(param, (-1.0) ** i * (step + 1)))
        ours.updater.step()
        plain.step()
    moved = dict(ours.loss.named_buffers())
    assert moved
    for name, expected in theirs.loss.named_buffers():
        torch.testing.assert_close(moved[name], expected, msg=name)


def test_it_follows_weights_that_were_loaded():
    """A checkpoint is read into the same parameters."""
    loss = DQNLoss(QValueActor(nn.Linear(3, 2), action_space="one-hot"), action_space="one-hot")
    updater = FusedSoftUpdate(loss, tau=0.25)
    state = {name: torch.ones_like(value) for name, value in loss.state_dict().items()}
    loss.load_state_dict(state)
    for param in loss.parameters():
        param.data.mul_(5.0)
    updater.step()
    for name, target in loss.named_buffers():
        if name.startswith("target"):
            assert torch.equal(target, torch.full_like(target, 2.0)), name


def test_a_loss_without_targets_is_refused():
    loss = DQNLoss(QValueActor(nn.Linear(3, 2), action_space="one-hot"), action_space="one-hot", delay_value=False)
    with pytest.raises(RuntimeError, match="target"):
        FusedSoftUpdate(loss, tau=0.5)


def test_our_losses_have_targets():
    qvalue = ValueOperator(nn.Linear(4, 1), in_keys=["clean_observation", "action"])
    loss = RobustCriticLoss(nn.Linear(3, 1), qvalue, within=LinfBall(0.3))
    updater = FusedSoftUpdate(loss, tau=0.5)
    assert len(updater.targets) == len(updater.sources) == 2
