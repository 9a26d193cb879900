"""Distributions are compared with their like; the closed forms are tested in tests/objectives/test_values.py."""

from itertools import permutations

import pytest
import torch
from torch.distributions import Beta, Categorical, Gamma, Normal, StudentT, kl_divergence

from advwrap import PGD, CrossEntropy, LinfBall, PolicyKL
from advwrap.victims.laws import law_of

KINDS = {
    "Normal": Normal(torch.zeros(2, 3), torch.ones(2, 3)),
    "Categorical": Categorical(logits=torch.zeros(2, 3)),
    "Beta": Beta(torch.ones(2), torch.ones(2)),
    "StudentT": StudentT(torch.ones(2)),
}


@pytest.mark.parametrize(("one", "other"), list(permutations(KINDS, 2)))
@pytest.mark.parametrize("compare", ["kl", "cross_entropy"])
def test_two_kinds_cannot_be_compared(compare, one, other):
    first, second = law_of(KINDS[one]), law_of(KINDS[other])
    with pytest.raises(TypeError, match=f"same kind of distribution .*, got {one} and {other}. Fix: "):
        getattr(first, compare)(second)


def test_kinds_that_torch_can_compare_are_compared():
    beta, gamma = KINDS["Beta"], Gamma(torch.ones(2), torch.ones(2))
    assert torch.equal(law_of(beta).kl(law_of(gamma)), kl_divergence(beta, gamma))


def test_a_kind_that_torch_cannot_compare_with_itself_is_its_own_error():
    with pytest.raises(NotImplementedError, match="StudentT"):
        law_of(KINDS["StudentT"]).kl(law_of(KINDS["StudentT"]))


@pytest.mark.parametrize("objective", [PolicyKL, CrossEntropy])
def test_a_policy_that_changes_its_mind(objective):
    """Its clean distribution is categorical, all others are normal."""
    answers = iter([Categorical(logits=torch.zeros(2, 3))])
    attack = PGD(objective(lambda obs: next(answers, (obs, obs.exp()))), within=LinfBall(0.1))
    with pytest.raises(TypeError, match=r"same kind of distribution for every observation, got .*Categorical"):
        attack(torch.zeros(2, 3))
