"""A robust critic of a frozen policy learns the value under the optimal adversary of its actions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import nn

from advwrap import Bounds, Identity, LinfBall
from advwrap.losses import RobustCriticTraining, fit_robust_critic
from advwrap.testing.contracts.rules import assert_untouched, global_randomness_untouched, snapshot

TRAINING = RobustCriticTraining(
    batches=1, updates=400, batch_size=64, learning_rate=3e-3, gamma=0.5, tau=0.05, hidden=(32,)
)


def two_steps(rows: int = 512) -> TensorDict:
    """States 0 and 1, one after the other, then the end; the reward is the executed action."""
    generator = torch.Generator().manual_seed(0)
    action = torch.rand(rows, 1, generator=generator) * 2 - 1
    state = torch.arange(rows).remainder(2).float().unsqueeze(1)
    after = TensorDict(
        {"observation": state + 1, "reward": action, "terminated": state == 1, "done": state == 1}, [rows]
    )
    return TensorDict({"observation": state, "action": action, "next": after}, [rows])


@pytest.mark.parametrize("eps", [0.0, 0.5, 3.0])
def test_two_steps_in_closed_form(eps: float) -> None:
    """U(1, a) = a and U(0, a) = a + gamma min over d of (mu + d): the policy's 0.2, moved down within the box."""
    policy = nn.Linear(1, 1)
    policy.weight.data.zero_(), policy.bias.data.fill_(0.2)
    before = snapshot([policy])
    with global_randomness_untouched():
        critic = fit_robust_critic(
            iter([two_steps()]), policy, within=LinfBall(eps), bounds=Bounds(-1.0, 1.0), training=TRAINING
        )
    assert_untouched([policy], before)
    states, actions = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([[-0.5], [0.5], [-0.5], [0.5]])
    worst = max(0.2 - eps, -1.0)
    expected = torch.tensor([-0.5 + 0.5 * worst, 0.5 + 0.5 * worst, -0.5, 0.5])
    torch.testing.assert_close(critic(states, actions), expected.expand(2, 4), atol=0.06, rtol=0)


def test_a_policy_is_played_within_its_box() -> None:
    """PPO's mean may be anywhere; a function is a policy too. Executed is 1, and from there the worst is 0.5."""
    critic = fit_robust_critic(
        iter([two_steps()]),
        lambda observation: torch.full((len(observation), 1), 5.0),
        within=LinfBall(0.5),
        bounds=Bounds(-1.0, 1.0),
        training=TRAINING,
    )
    found = critic(torch.zeros(1, 1), torch.zeros(1, 1))
    torch.testing.assert_close(found, torch.full((2, 1), 0.5 * 0.5), atol=0.06, rtol=0)


def test_on_any_device_and_in_any_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same weights: in float64 the same numbers, and on tensors without data nothing reaches for the CPU."""
    short = RobustCriticTraining(batches=1, updates=5, batch_size=16, hidden=(8,))
    monkeypatch.setattr(torch.Tensor, "is_set_to", lambda *_: False)  # `SoftUpdate` asks; "meta" has no answer

    def values(like: torch.Tensor, **options: Any) -> torch.Tensor:
        torch.manual_seed(0)
        data = two_steps().apply(lambda x: x.to(like) if x.is_floating_point() else x.to(like.device))
        policy, box = nn.Linear(1, 1).to(like), Bounds(-1.0, 1.0)
        critic = fit_robust_critic(iter([data]), policy, within=LinfBall(0.5), bounds=box, training=short, **options)
        return critic(data["observation"], data["action"])

    single, double = values(torch.zeros(())), values(torch.zeros((), dtype=torch.float64))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, atol=1e-5, rtol=1e-5)
    unattacked = values(torch.zeros((), device="meta"), solver=lambda critic: Identity())  # a search looks at data
    assert unattacked.device.type == "meta"


def test_no_generator_of_a_gpu_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the CPU is put back; `torch.manual_seed` would reach further."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    short = RobustCriticTraining(batches=1, updates=1, batch_size=16, hidden=(8,))
    box = Bounds(-1.0, 1.0)
    fit_robust_critic(iter([two_steps()]), nn.Linear(1, 1), within=LinfBall(0.5), bounds=box, training=short)
    assert not seeded


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"updates": 0}, "`updates` must be an integer >= 1"),
        ({"learning_rate": -1.0}, "`learning_rate` must be > 0"),
        ({"tau": 0.0}, "`tau` must be in"),
        ({"gamma": 2.0}, "`gamma` must be in"),
        ({"hidden": (0,)}, "`hidden` must hold sizes >= 1"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RobustCriticTraining(**options)
