"""The soft-worst targets inside a training step that is one graph: tensordict -> gradients, nothing breaks it."""

import pytest
import torch
from torchrl.objectives import SoftUpdate

from advwrap import Identity, Learned, Linear, LinfBall
from advwrap.losses.adversary import AdversaryLoss
from advwrap.modules import GaussianAdversary, Perturb
from advwrap.targets import PerturbPlaces, SoftBackup, SoftWorst, epsilon_worst
from tests.targets.test_soft_backup import transitions
from tests.targets.test_soft_value import FEATURES, sac

pytestmark = pytest.mark.slow

BALL = LinfBall(0.25)
GAMMA = 0.99


@pytest.fixture(autouse=True)
def tracing():
    before = torch._dynamo.config.trace_autograd_ops
    torch._dynamo.config.trace_autograd_ops = True
    torch._dynamo.reset()
    yield
    torch._dynamo.config.trace_autograd_ops = before
    torch._dynamo.reset()


def victim():
    loss = sac()
    SoftUpdate(loss, tau=0.1)
    return loss


def gradients(module, params):
    """A training step as a pure function: the loss terms of a perturbed batch, and their gradients."""

    def step(data):
        total = module(data)
        return total, torch.autograd.grad(total, params, allow_unused=True)

    return step


def agree(step, again, data):
    """The compiled step gives the numbers of the eager one, in one graph."""
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for _ in range(2):  # the second call goes on with the random streams
        torch.manual_seed(0)
        ours = compiled(data.clone())
        torch.manual_seed(0)
        theirs = again(data.clone())
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-4)
        for mine, other in zip(ours[1], theirs[1], strict=True):
            assert (mine is None) == (other is None)
            if mine is not None:
                torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def modules():
    loss = victim()
    actor = loss.actor_network
    soft = SoftWorst(actor, loss, within=BALL, temperature=Linear(8.0, 2.0, steps=10), samples=4)
    adversary = GaussianAdversary(FEATURES, hidden=(8,), generator=torch.Generator().manual_seed(0))
    learned = Learned(adversary, within=BALL, sample=True)
    kappa = Linear(0.0, 1.0, steps=10)
    kappa.advance(5)
    epsilon = epsilon_worst(actor, loss, within=BALL, kappa=kappa)
    return loss, {
        "epsilon-worst": Perturb(epsilon, seed=0),
        "soft-worst": Perturb(soft, seed=0),
        "learned": Perturb(learned, seed=0),
        "exact soft value": SoftBackup(soft, gamma=GAMMA, seed=0),
        "exact soft value, learned": SoftBackup(learned, gamma=GAMMA, temperature=2.0, seed=0),
        "without policy evaluation": PerturbPlaces(root=soft, next=Identity(), seed=0),
    }


@pytest.mark.parametrize("name", sorted(modules()[1]))
def test_targets(name):
    def step():
        loss, perturbs = modules()
        params = [p for p in loss.parameters() if p.requires_grad]

        def total(data):
            out = loss(perturbs[name](data))
            return out["loss_qvalue"] + out["loss_actor"] + out["loss_alpha"]

        return gradients(total, params)

    agree(step(), step(), transitions())


def test_adversary_loss():
    def step():
        loss = victim()
        adversary = GaussianAdversary(FEATURES, hidden=(8,), generator=torch.Generator().manual_seed(0))
        fit = AdversaryLoss(
            adversary, loss.actor_network, loss, within=BALL, temperature=Linear(1000.0, 4.0, steps=10), seed=0
        )
        params = [*adversary.parameters(), *(p for p in loss.parameters() if p.requires_grad)]
        return gradients(lambda data: fit(data)["loss_adversary"], params)

    eager = step()
    _, grads = eager(transitions())
    assert all(g is not None for g in grads[:4])
    assert all(g is None for g in grads[4:])  # the victim gets no gradient, not even zeros
    agree(step(), step(), transitions())
