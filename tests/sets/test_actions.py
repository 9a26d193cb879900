"""Finite action sets, and masks."""

import pytest
import torch

from advwrap import (
    FGSM,
    PGD,
    ActionSet,
    HighReward,
    L0Ball,
    Langevin,
    LinfBall,
    LowValue,
    Masked,
    Noise,
    RandomVertex,
    Search,
)
from advwrap.randomness import Streams

VALUES = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 4.0]])


def value_of(state, action):
    return VALUES[state[:, 0].long()].gather(1, action[:, None]).squeeze(1)


def test_search_tries_every_action():
    state = {"observation": torch.tensor([[0.0], [1.0]])}
    attack = Search(LowValue(critic=value_of), within=ActionSet(3))
    assert attack(torch.tensor([1, 0]), context=state).tolist() == [0, 1]


def test_search_takes_a_rank():
    """The agent's second choice is the second highest value."""
    state = {"observation": torch.tensor([[0.0], [1.0]])}
    for rank, expected in ((1, [1, 0]), (2, [2, 2]), (3, [0, 1])):
        attack = Search(HighReward(critic=value_of), within=ActionSet(3), rank=rank)
        assert attack(torch.tensor([0, 0]), context=state).tolist() == expected
    with pytest.raises(ValueError, match="`rank` must be at most the number of actions, 3, got 4"):
        Search(HighReward(critic=value_of), within=ActionSet(3), rank=4)(torch.tensor([0, 0]), context=state)
    with pytest.raises(ValueError, match="`rank` must be 1 where the points are not finitely many, got 2"):
        Search(HighReward(critic=value_of), within=LinfBall(0.5), rank=2)


def test_noise_draws_every_action():
    drawn = Noise(ActionSet(3))(torch.zeros(300, dtype=torch.int64), generator=Streams.seeded(range(300)))
    assert drawn.dtype == torch.int64
    assert torch.bincount(drawn).min() > 60


def test_continuous_actions_of_a_list():
    allowed = torch.tensor([[-1.0, 0.0], [1.0, 0.5]])
    drawn = Noise(ActionSet(allowed))(torch.zeros(50, 2), generator=Streams.seeded(range(50)))
    assert {tuple(row) for row in drawn.tolist()} == {(-1.0, 0.0), (1.0, 0.5)}


@pytest.mark.parametrize("kind", [FGSM, PGD, Langevin])
def test_gradients_are_for_balls(kind):
    attack = kind(LowValue(value=lambda a: a.sum(-1)), within=ActionSet(torch.ones(2, 1)))
    with pytest.raises(TypeError, match=r"`within` must be a ball .* Fix: Search"):
        attack(torch.zeros(4, 1))


def test_random_vertex_is_an_allowed_action():
    allowed = torch.tensor([[-1.0], [0.25], [1.0]])
    drawn = RandomVertex(ActionSet(allowed))(torch.zeros(40, 1), generator=Streams.seeded(range(40)))
    assert set(drawn.flatten().tolist()) <= {-1.0, 0.25, 1.0}


def test_no_features_may_move():
    assert (L0Ball(0, 1.0).steepest(torch.ones(2, 3)) == 0).all()


def test_mask_broadcasts_over_an_image():
    within = Masked(L0Ball(2, 1.0), torch.tensor([True, False]))
    moved = within.steepest(torch.ones(1, 3, 2))
    assert (moved[..., 1] == 0).all()
    assert int((moved != 0).sum()) == 2


def test_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="`mask` must broadcast"):
        Masked(L0Ball(1, 1.0), torch.tensor([True, False])).project(torch.ones(1, 3))
