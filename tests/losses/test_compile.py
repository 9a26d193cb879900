"""The whole step, an unmodified SACLoss and our terms, is one graph with the gradients of all parameters."""

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import LinfBall
from advwrap.losses import RobustSarsa, SmoothPolicy, WorstCaseCritic
from advwrap.sets import Linear
from advwrap.training.update import Update
from tests.compiled import assert_one_graph
from tests.victims.torchrl_actors import ACTIONS, FEATURES, normal

pytestmark = pytest.mark.slow

ROWS, CLEAN = 8, "clean_observation"


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch():
    end = torch.zeros(ROWS, 1, dtype=torch.bool)
    s, after = draw(ROWS, FEATURES), draw(ROWS, FEATURES, seed=1)
    following = {"observation": after, CLEAN: after, "reward": draw(ROWS, 1, seed=2), "done": end, "terminated": end}
    following |= {"action": draw(ROWS, ACTIONS, seed=3)}
    now = {"observation": s, CLEAN: s, "action": draw(ROWS, ACTIONS, seed=4)}
    return TensorDict({**now, "next": TensorDict(following, [ROWS])}, [ROWS])


def q():
    return ValueOperator(MLP(FEATURES + ACTIONS, 1, num_cells=[8], activation_class=nn.ReLU), in_keys=[CLEAN, "action"])


class Losses:
    """The losses named, their schedules, and the step that the trainer compiles."""

    def __init__(self, *names):
        torch.manual_seed(0)
        actor = normal()
        self.radius, self.kappa = Linear(0.0, 0.2, steps=10), Linear(0.0, 0.8, steps=10)
        ball = LinfBall(self.radius)
        sac = SACLoss(actor, q(), action_spec=None, target_entropy=-2.0)
        sac.make_value_estimator(gamma=0.99)  # else its first call makes one, which cannot be traced,
        _ = sac.target_entropy  # nor can this
        made = {
            "sac": lambda: sac,
            "smooth": lambda: SmoothPolicy.sgld(actor, within=ball, coefficient=self.kappa, seed=0),
            "mixed": lambda: WorstCaseCritic(actor, q(), within=ball, kappa=self.kappa, critic=sac),
            "deterministic": lambda: WorstCaseCritic(actor, q(), within=ball, kappa=self.kappa, num_qvalue_nets=2),
            "sarsa": lambda: RobustSarsa([q(), q()], eps=self.radius, coefficient=self.kappa),
        }
        losses = [made[name]() for name in names]
        for loss in losses:
            if isinstance(loss, SACLoss | WorstCaseCritic):
                SoftUpdate(loss, tau=0.1)
        parameters = dict.fromkeys(p for loss in losses for p in loss.parameters() if p.requires_grad)
        self.gradients = Update(losses, torch.optim.SGD(list(parameters), lr=1.0)).gradients


@pytest.mark.parametrize("names", [("sac", "smooth"), ("sac", "mixed"), ("deterministic",), ("sarsa",)], ids=" ".join)
def test_one_graph_gives_the_numbers_of_eager(names):
    eager, traced = Losses(*names), Losses(*names)

    def advance():
        for side in (eager, traced):
            side.radius.advance(3), side.kappa.advance(3)

    assert_one_graph(eager.gradients, traced.gradients, batch, advance)
