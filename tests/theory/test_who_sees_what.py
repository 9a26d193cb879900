"""Which term of the unmodified SAC loss sees which observation, once `Perturb` has been there.

Policy evaluation (eq. 54 of VALT): the critics' prediction reads the true state, their target the true next state and
what the victim sees there. Policy improvement (eq. 56): the actor acts on what it sees, and is judged at the truth. The
temperature follows the entropy of what the actor sees.
"""

import pytest
import torch

from advwrap import PGD, Identity, LinfBall, LowValue, RandomVertex
from advwrap.modules import Perturb
from advwrap.targets import PerturbPlaces, SoftWorst, epsilon_worst
from tests.modules.test_losses import ROWS, batch, sac

BALL = LinfBall(0.3)
TERMS = ("loss_qvalue", "loss_actor", "loss_alpha")


def attacks(loss):
    actor = loss.actor_network
    return {
        "vertex": RandomVertex(BALL),
        "worst": PGD(LowValue(actor, loss), within=BALL),
        "epsilon": epsilon_worst(actor, loss, within=BALL, kappa=0.5),
        "soft": SoftWorst(actor, loss, within=BALL, temperature=0.1, samples=4),
    }


def terms(loss, data):
    torch.manual_seed(0)  # SACLoss draws its actions from the global generator
    out = loss(data.clone())
    return {name: out[name].detach() for name in TERMS}


@pytest.fixture(scope="module")
def loss():
    torch.manual_seed(0)
    made = sac()
    with torch.no_grad():
        made.log_alpha.fill_(-1.0)  # at 0, where it starts, its loss is 0 whatever happens
    return made


def changed(loss, root, following):
    """The terms that another attack at these places changes."""
    clean = terms(loss, PerturbPlaces(root=Identity(), next=Identity())(batch()))
    seen = terms(loss, PerturbPlaces(root=root, next=following, seed=0)(batch()))
    return {name for name in TERMS if not torch.equal(clean[name], seen[name])}


@pytest.mark.parametrize("name", ["vertex", "worst", "epsilon", "soft"])
class TestPlaces:
    def test_root_is_policy_improvement(self, loss, name):
        """The critics never see the perturbed root, neither as a prediction nor in the target."""
        assert changed(loss, attacks(loss)[name], Identity()) == {"loss_actor", "loss_alpha"}

    def test_next_is_policy_evaluation(self, loss, name):
        assert changed(loss, Identity(), attacks(loss)[name]) == {"loss_qvalue"}

    def test_both(self, loss, name):
        attack = attacks(loss)[name]
        assert changed(loss, attack, attack) == set(TERMS)


def derivatives(loss, data, term, place):
    """Of one term with respect to the observation of every row at one place."""
    data = data.clone()
    x = data[place].detach().requires_grad_()
    data[place] = x
    torch.manual_seed(0)
    (grad,) = torch.autograd.grad(loss(data)[term], x, allow_unused=True)
    return torch.zeros(ROWS) if grad is None else grad.abs().sum(-1)


@pytest.mark.parametrize(
    ("term", "places"),
    [
        ("loss_qvalue", {"clean_observation"}),
        ("loss_actor", {"observation", "clean_observation"}),
        ("loss_alpha", set()),
    ],
)
def test_slopes(loss, term, places):
    """By autograd, row by row. The critics' target and the log-density in the temperature's loss are constants."""
    data = Perturb(RandomVertex(BALL), seed=0)(batch())
    found = set()
    for place in ("observation", "clean_observation", ("next", "observation"), ("next", "clean_observation")):
        slope = derivatives(loss, data, term, place)
        assert (slope > 0).all() or (slope == 0).all()
        if (slope > 0).all():
            found.add(place)
    assert found == places


def finite_difference(loss, data, term, place, row, step=0.5):
    moved = data.clone()
    moved[place][row] += step
    return float(terms(loss, moved)[term] - terms(loss, data)[term])


@pytest.mark.parametrize(
    ("term", "places"),
    [
        ("loss_qvalue", {"clean_observation", ("next", "observation"), ("next", "clean_observation")}),
        ("loss_actor", {"observation", "clean_observation"}),
        ("loss_alpha", {"observation"}),
    ],
)
def test_finite_differences(loss, term, places):
    """By moving one row at a time, what is constant for autograd counts too."""
    data = Perturb(RandomVertex(BALL), seed=0)(batch())
    found = {
        place
        for place in ("observation", "clean_observation", ("next", "observation"), ("next", "clean_observation"))
        for row in range(3)
        if finite_difference(loss, data, term, place, row) != 0
    }
    assert found == places


def test_the_target_acts_on_what_it_sees_and_is_judged_at_the_truth():
    """Two next observations that the policy cannot tell apart have the same target; two true ones have not."""
    torch.manual_seed(0)
    loss = sac()
    with torch.no_grad():
        for p in loss.actor_network_params.parameters():
            p.zero_()
    data = Perturb(Identity())(batch())
    base = terms(loss, data)["loss_qvalue"]
    data["next", "observation"] += 1.0
    assert torch.equal(terms(loss, data)["loss_qvalue"], base)
    data["next", "clean_observation"] += 1.0
    assert not torch.equal(terms(loss, data)["loss_qvalue"], base)
