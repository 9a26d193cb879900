"""The soft-worst targets inside a training step that is one graph: tensordict -> gradients, nothing breaks it."""

import pytest
import torch
from torchrl.objectives import SoftUpdate

from advwrap import Identity, Learned, Linear, LinfBall
from advwrap.losses import AdversaryLoss
from advwrap.modules import GaussianAdversary, Perturb
from advwrap.targets import PerturbPlaces, SoftBackup, SoftWorst, epsilon_worst
from advwrap.training.update import Update
from tests.compiled import assert_one_graph
from tests.targets.test_soft_backup import transitions
from tests.targets.test_soft_value import FEATURES, sac

pytestmark = pytest.mark.slow

BALL = LinfBall(0.25)
GAMMA = 0.99
TARGETS = {
    "epsilon-worst": lambda parts: Perturb(parts.epsilon, seed=0),
    "soft-worst": lambda parts: Perturb(parts.soft, seed=0),
    "learned": lambda parts: Perturb(parts.learned, seed=0),
    "exact soft value": lambda parts: SoftBackup(parts.soft, gamma=GAMMA, seed=0),
    "exact soft value, learned": lambda parts: SoftBackup(parts.learned, gamma=GAMMA, temperature=2.0, seed=0),
    "without policy evaluation": lambda parts: PerturbPlaces(root=parts.soft, next=Identity(), seed=0),
}


class Parts:
    """A SAC loss, the adversaries of it, and schedules that move between the steps."""

    def __init__(self):
        self.loss = sac(alpha_init=0.5)
        self.loss.make_value_estimator(gamma=GAMMA)  # else its first call makes one, which cannot be traced,
        _ = self.loss.target_entropy  # nor can this
        SoftUpdate(self.loss, tau=0.1)
        actor = self.loss.actor_network
        self.kappa, self.temperature = Linear(0.2, 1.0, steps=10), Linear(8.0, 2.0, steps=10)
        self.epsilon = epsilon_worst(actor, self.loss, within=BALL, kappa=self.kappa)
        self.soft = SoftWorst(actor, self.loss, within=BALL, temperature=self.temperature, samples=4)
        self.adversary = GaussianAdversary(FEATURES, hidden=(8,), generator=torch.Generator().manual_seed(0))
        self.learned = Learned(self.adversary, within=BALL, sample=True)
        self.fit = AdversaryLoss(self.adversary, actor, self.loss, within=BALL, temperature=self.temperature, seed=0)

    def update(self, losses, *modules, prepare=()):
        params = [p for module in modules for p in module.parameters() if p.requires_grad]
        return Update(losses, torch.optim.SGD(params, lr=1.0), prepare=prepare).gradients


def one_graph(make):
    """The gradients of a step of these parts, compiled and eager alike."""
    sides = [Parts(), Parts()]

    def advance():
        for side in sides:
            side.kappa.advance(3), side.temperature.advance(3)

    return assert_one_graph(*(make(side) for side in sides), transitions, advance)


@pytest.mark.parametrize("name", TARGETS)
def test_targets(name):
    one_graph(lambda parts: parts.update([parts.loss], parts.loss, prepare=[TARGETS[name](parts)]))


def test_adversary_loss():
    gradients = one_graph(lambda parts: parts.update([parts.fit], parts.adversary, parts.loss))
    trained = len(list(Parts().adversary.parameters()))
    assert all(g is not None for g in gradients[:trained])
    assert all(g is None for g in gradients[trained:])  # the victim gets no gradient, not even zeros
