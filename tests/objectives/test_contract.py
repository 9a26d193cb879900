"""Every objective keeps the public contract."""

import torch

from advwrap import (
    ActionShift,
    AvoidAction,
    CrossEntropy,
    HighCost,
    HighReward,
    LowValue,
    PolicyKL,
    SeekAction,
    WeightedSum,
)
from advwrap.testing import strategies
from advwrap.testing.contracts.objectives import ObjectiveContract
from advwrap.testing.stateful_victims import BatchNormPolicy, gru_actor, lstm_actor, recurrent_context
from advwrap.testing.victims import BlackBoxPolicy
from advwrap.victims import Categorical, Gaussian

NET = BatchNormPolicy(3, 2)
VALUE = torch.nn.Sequential(BatchNormPolicy(3, 2), torch.nn.Linear(2, 1))
CRITICS = [torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)) for _ in range(2)]


class TestActionShift(ObjectiveContract):
    def make_objective(self):
        return ActionShift(NET)

    def modules(self):
        return [NET]


class TestWeightedActionShift(ObjectiveContract):
    def make_objective(self):
        return ActionShift(Gaussian(NET, std=torch.tensor([0.1, 2.0])), by_std=True)

    def modules(self):
        return [NET]


class TestPolicyKL(ObjectiveContract):
    def make_objective(self):
        return PolicyKL(Categorical(NET))

    def modules(self):
        return [NET]


class TestCrossEntropy(ObjectiveContract):
    def make_objective(self):
        return CrossEntropy(Gaussian(NET, std=0.5, squash=torch.tanh))

    def modules(self):
        return [NET]


class TestAvoidAction(ObjectiveContract):
    def make_objective(self):
        return AvoidAction(Categorical(NET))

    def modules(self):
        return [NET]


class TestSeekAction(ObjectiveContract):
    def make_objective(self):
        return SeekAction(Gaussian(NET, std=0.5), target=torch.tensor([0.5, -0.5]))

    def modules(self):
        return [NET]


class TestLowValue(ObjectiveContract):
    def make_objective(self):
        return LowValue(NET, CRITICS)

    def modules(self):
        return [NET, *CRITICS]


class TestLowValueOfActions(ObjectiveContract):
    shape = (2,)

    def make_objective(self):
        return LowValue(critic=CRITICS, reduce=torch.amin)

    def context(self, rows):
        return {"observation": torch.ones(rows, 3)}

    def modules(self):
        return CRITICS


class TestHighCost(ObjectiveContract):
    def make_objective(self):
        return HighCost(NET, CRITICS)

    def modules(self):
        return [NET, *CRITICS]


class TestHighReward(ObjectiveContract):
    def make_objective(self):
        return HighReward(value=VALUE)

    def modules(self):
        return [VALUE]


class TestWeightedSum(ObjectiveContract):
    def make_objective(self):
        return WeightedSum((0.3, ActionShift(NET)), (-2.0, LowValue(NET, CRITICS)))

    def modules(self):
        return [NET, *CRITICS]


class TestGRU(ObjectiveContract):
    actor = gru_actor(3, 2)
    test_empty_batch_has_no_scores = None  # torch's recurrent layers refuse them
    dtypes = (torch.float32,)

    def make_objective(self):
        return ActionShift(self.actor)

    def context(self, rows):
        return {k: v[:rows] for k, v in recurrent_context(self.actor, rows=16).items()}

    def modules(self):
        return [self.actor]

    def _pair(self, data, *, rows=None):
        return super()._pair(data, rows=3 if rows is None else rows)


class TestLSTM(TestGRU):
    actor = lstm_actor(3, 2)


class TestBlackBox(ObjectiveContract):
    differentiable = False
    dtypes = strategies.FLOATS

    def make_objective(self):
        return ActionShift(BlackBoxPolicy(torch.ones(3, 2)))
