"""Every recorded attack of the reference implementation, replayed with its own random draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from advwrap import ActionShift, Langevin, Learned, LinfBall, LowValue, PolicyKL, WeightedSum
from advwrap.attacks.ascent import ascend
from advwrap.attacks.region import region
from advwrap.objectives import Objective
from advwrap.sets import UNBOUNDED
from advwrap.victims import Gaussian
from tests.reference.released import EPS, Victim, mlp, recorded, rs_mad_ratio, victim

pytestmark = pytest.mark.reference

STEPS = 10
BALL = LinfBall(EPS)


@pytest.fixture(scope="module")
def ppo() -> Victim:
    return victim("ppo")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return recorded()


@pytest.fixture(params=["det", "sto"])
def mode(request: pytest.FixtureRequest) -> str:
    """Whether the victim's standard deviation weighs the action shift."""
    return str(request.param)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def from_start(objective: Objective, states: Tensor, start: Tensor) -> Tensor:
    """The reference's sign descent: start U(-step, step), ten steps of eps / 10, the last iterate."""
    area = region(states, BALL, UNBOUNDED)
    x = ascend(objective(states), area, states + start, steps=STEPS, step_size=1 / STEPS)
    return area.seal(x)


def shift(ppo: Victim, mode: str) -> ActionShift:
    return ActionShift(Gaussian(ppo.policy, ppo.std), by_std=mode == "sto")


def sarsa(ppo: Victim, golden: dict[str, Tensor]) -> LowValue:
    return LowValue(ppo.policy, mlp(golden, "rs_net", "final"))


def test_uniform(golden: dict[str, Tensor], mode: str) -> None:
    area = region(golden["states"], BALL, UNBOUNDED)
    close(area.seal(golden["states"] + golden["draw.uniform_eps"]), golden[f"random.{mode}"])


def test_value_attack(ppo: Victim, golden: dict[str, Tensor], mode: str) -> None:
    ours = from_start(LowValue(value=ppo.value), golden["states"], golden["draw.uniform_step"])
    close(ours, golden[f"critic.{mode}"])


def test_mad(ppo: Victim, golden: dict[str, Tensor], mode: str) -> None:
    attack = Langevin(shift(ppo, mode), within=BALL, steps=STEPS)
    close(attack.run(golden["states"], list(golden["draw.normal"].unbind(1))), golden[f"action.{mode}"])


def test_robust_sarsa(ppo: Victim, golden: dict[str, Tensor], mode: str) -> None:
    ours = from_start(sarsa(ppo, golden), golden["states"], golden["draw.uniform_step"])
    close(ours, golden[f"sarsa.{mode}"])


def test_robust_sarsa_with_mad(ppo: Victim, golden: dict[str, Tensor], mode: str) -> None:
    r = rs_mad_ratio()
    actions = len(ppo.std)
    both = WeightedSum((1 - r, sarsa(ppo, golden)), (r / actions, shift(ppo, mode)))
    close(from_start(both, golden["states"], golden["draw.uniform_step"]), golden[f"sarsa+action.{mode}"])


def test_learned_adversary(ppo: Victim, golden: dict[str, Tensor], mode: str) -> None:
    close(Learned(ppo.adversary, within=BALL)(golden["states"]), golden[f"advpolicy.{mode}"])


def test_sgld_regulariser(ppo: Victim, golden: dict[str, Tensor]) -> None:
    # The reference averages over the batch before the gradient and has no factor 1/2: (2 / N) times the KL.
    states = golden["states"]
    kl = PolicyKL(Gaussian(ppo.policy, ppo.std))
    attack = Langevin(WeightedSum((2 / len(states), kl)), within=BALL, steps=STEPS, beta=1e5)
    x = attack.run(states, list(golden["draw.sgld_normal"]))
    regulariser = 2 * kl(states)(x).detach()
    torch.testing.assert_close(regulariser, golden["sappo_sgld_reg"].squeeze(1), rtol=1e-4, atol=0)
