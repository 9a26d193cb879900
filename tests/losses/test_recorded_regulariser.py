"""The regulariser of the reference implementation, replayed with its own random draws."""

import pytest
import torch
from tensordict import TensorDict

from advwrap import Langevin, LinfBall, PolicyKL, WeightedSum
from advwrap.losses import SmoothPolicy, mean_shift
from advwrap.victims import Gaussian
from tests.reference.released import EPS, recorded, victim

pytestmark = pytest.mark.reference


def test_the_recorded_value():
    ppo, golden = victim("ppo"), recorded()
    policy, states = Gaussian(ppo.policy, ppo.std), golden["states"]
    # The reference averages over the batch before the gradient and has no factor 1/2.
    found = Langevin(WeightedSum((2 / len(states), PolicyKL(policy))), within=LinfBall(EPS), steps=10, beta=1e5)

    def replayed(clean, **_):
        return found.run(clean, list(golden["draw.sgld_normal"]))

    loss = SmoothPolicy(policy, replayed, coefficient=0.1, divergence=mean_shift, detach_clean=True)
    out = loss(TensorDict({"observation": states}, [len(states)]))
    torch.testing.assert_close(out["loss_smooth"], 0.1 * golden["sappo_sgld_reg"].mean(), rtol=1e-4, atol=0)
