"""The contract of losses: TorchRL's own losses keep it, and broken ones are caught."""

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import ValueOperator
from torchrl.objectives import DDPGLoss, LossModule, SoftUpdate

from advwrap.testing.contracts import LossContract


def batch():
    end = torch.zeros(5, 1, dtype=torch.bool)
    after = TensorDict(observation=torch.randn(5, 3), reward=torch.randn(5, 1), done=end, terminated=end)
    return TensorDict(observation=torch.randn(5, 3), action=torch.randn(5, 1), next=after, batch_size=5)


class TestDDPGLoss(LossContract):
    def make_loss(self):
        actor = TensorDictModule(nn.Linear(3, 1), in_keys=["observation"], out_keys=["action"])
        critic = ValueOperator(nn.Bilinear(3, 1, 1), in_keys=["observation", "action"])
        loss = DDPGLoss(actor, critic, delay_value=True)
        SoftUpdate(loss, eps=0.9)
        return loss

    def make_batch(self):
        return batch()


class Smooth(LossModule):
    """A correct loss: the squared action of the policy, weighted by a victim's value."""

    default_keys = SimpleNamespace
    in_keys = ["observation"]  # noqa: RUF012
    out_keys = ["loss_smooth"]  # noqa: RUF012

    def __init__(self, policy, victim):
        super().__init__()
        self.policy = policy
        self.victims = [victim]  # in a list: not registered, not trained

    def forward(self, tensordict):
        observation = tensordict["observation"]
        with torch.no_grad():
            weight = self.victims[0](observation).square()
        return TensorDict(loss_smooth=(weight * self.policy(observation).square()).mean())


VICTIM = nn.Linear(3, 1)


class TestSmooth(LossContract):
    kind = Smooth

    def make_loss(self):
        return self.kind(nn.Linear(3, 1), VICTIM)

    def make_batch(self):
        return batch()

    def others(self, loss):
        return loss.victims


class Hidden(Smooth):
    """Keeps the network where `parameters()` does not look: trains nothing."""

    def __init__(self, policy, victim):
        super().__init__(None, victim)
        self.__dict__["policy"] = policy


class TrainsTheVictim(Smooth):
    def forward(self, tensordict):
        observation = tensordict["observation"]
        return TensorDict(loss_smooth=(self.victims[0](observation) * self.policy(observation)).mean())


class Undeclared(Smooth):
    def forward(self, tensordict):
        return super().forward(tensordict).set("loss_more", torch.zeros((), requires_grad=True))


class Missing(Smooth):
    out_keys = ["loss_smooth", "weight"]  # noqa: RUF012


class ReadsMore(Smooth):
    def forward(self, tensordict):
        return super().forward(tensordict) * tensordict.get("action", torch.ones(1)).sum()


class Writes(Smooth):
    def forward(self, tensordict):
        out = super().forward(tensordict)
        tensordict["observation"].zero_()
        return out


class Forgets(Smooth):
    """Depends on something that is not in the state."""

    def __init__(self, policy, victim):
        super().__init__(policy, victim)
        self.scale = torch.randn(()).item()

    def forward(self, tensordict):
        return super().forward(tensordict) * self.scale


class PerRow(Smooth):
    def forward(self, tensordict):
        return TensorDict(loss_smooth=self.policy(tensordict["observation"]).squeeze(-1))


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Hidden, "test_gradients_reach_its_parameters_and_nothing_else"),
        (TrainsTheVictim, "test_gradients_reach_its_parameters_and_nothing_else"),
        (Writes, "test_gradients_reach_its_parameters_and_nothing_else"),
        (Undeclared, "test_losses_are_finite_scalars"),
        (Missing, "test_losses_are_finite_scalars"),
        (PerRow, "test_losses_are_finite_scalars"),
        (ReadsMore, "test_in_keys_are_enough"),
        (Forgets, "test_state_dict_is_everything"),
    ],
)
def test_broken_losses_are_caught(kind, rule):
    contract = TestSmooth()
    contract.kind = kind
    with pytest.raises(AssertionError):
        getattr(contract, rule)()
