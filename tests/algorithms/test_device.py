"""A training step stays on the device of its networks: on tensors without data, whatever reaches for the CPU fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import gymnasium as gym
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.modules.distributions import continuous

from advwrap.algorithms import (
    OAPI,
    SAC,
    TD3,
    Alternating,
    DiscreteSAC,
    OffPolicy,
    RobustRegulariser,
    TrainingAttack,
    Undefended,
    ValtEps,
    ValtSampled,
    ValtSoft,
    Wocar,
)
from advwrap.algorithms.defence import Hardening, Learner
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.training.running_normaliser import normalise_batch
from advwrap.training.update import Update

EVERYWHERE = [
    Undefended(),
    TrainingAttack(0.1),
    RobustRegulariser(0.1, 1.0),
    ValtEps(0.1, regulariser=1.0),
    ValtSoft(0.1, temperature=1.0, regulariser=1.0),
    ValtSampled(0.1, temperature=1.0),
]
CASES = [SAC("Pendulum-v1", defence) for defence in (*EVERYWHERE, Wocar(0.1), OAPI(0.1))]
CASES += [TD3("Pendulum-v1", defence) for defence in (*EVERYWHERE, OAPI(0.1))]
CASES += [DiscreteSAC("CartPole-v1", defence) for defence in (*EVERYWHERE, OAPI(0.1))]


@contextmanager
def making(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets constructors ask for numbers, which a device with data answers."""
    with monkeypatch.context() as patch, torch.device("meta"):
        patch.setattr(Tensor, "item", lambda _: 1.0)
        patch.setattr(Tensor, "__bool__", lambda _: True)
        patch.setattr(Tensor, "any", lambda _: False)  # TD3Loss asks whether its limits are crossed
        patch.setattr(Tensor, "is_set_to", lambda *_: False)
        yield


@contextmanager
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes the branches of a compiled graph: those that never look at data, nor compute with NumPy."""

    def numpy(_: Tensor) -> None:
        raise AssertionError("a tensor was fetched from the device")

    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        patch.setattr(Tensor, "numpy", numpy)
        patch.setattr(continuous, "is_compiling", lambda: True)
        patch.setattr(torch.distributions.Distribution, "_validate_args", False)
        yield


def parts(config: OffPolicy) -> tuple[Learner, Hardening, TensorDict]:
    task = gym.make(config.env)
    features = task.observation_space.shape[0]  # type: ignore[index]
    learner = config.learner(task.observation_space, task.action_space)  # type: ignore[arg-type]
    hardening = config.defence.harden(learner, steps=100, seed=0)
    flags = {name: torch.zeros(8, 1, dtype=torch.bool) for name in ("done", "terminated")}
    kind = torch.float32 if isinstance(task.action_space, gym.spaces.Box) else torch.int64
    batch = {"raw_observation": torch.zeros(8, features), "action": torch.zeros(8, learner.actions, dtype=kind)}
    following = {"raw_observation": torch.zeros(8, features), "reward": torch.zeros(8, 1), **flags}
    return learner, hardening, TensorDict({**batch, "next": TensorDict(following, [8])}, [8])


@pytest.mark.parametrize("config", CASES, ids=lambda c: f"{type(c).__name__}-{type(c.defence).__name__}")
def test_an_update_never_leaves_the_device(config: OffPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    with making(monkeypatch):
        learner, hardening, batch = parts(config)
    losses = [learner.loss, *hardening.losses]
    prepare = [partial(normalise_batch, learner.normaliser)]
    if hardening.perturb is not None:
        prepare.append(hardening.perturb)
    parameters = {id(p): p for loss in losses for p in loss.parameters() if p.requires_grad}
    options = {"weights": hardening.weights, "surgery": hardening.surgery}
    update = Update(losses, torch.optim.SGD(list(parameters.values())), prepare=prepare, **options)
    with tracing(monkeypatch):
        gradients, values = update.gradients(batch)
    found = [*values.values(), *(g for g in gradients if g is not None)]
    assert len(found) > 10
    assert {value.device.type for value in found} == {"meta"}


def test_a_learned_adversary_never_leaves_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with making(monkeypatch):
        _, hardening, batch = parts(CASES[4])
        relearning = hardening.parts["adversary"]
    batch["clean_observation"] = batch["raw_observation"]
    with tracing(monkeypatch):
        gradients, _ = relearning.update.gradients(batch)  # type: ignore[attr-defined]
    assert {g.device.type for g in gradients} == {"meta"}


def test_what_collects_on_the_cpu_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with making(monkeypatch), pytest.raises(ValueError, match="`device` must be cpu"):
        parts(SAC("Pendulum-v1", Alternating(0.1)))


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="`device` must be"):
        OffPolicyTraining(SAC("Pendulum-v1", device="warp"))
