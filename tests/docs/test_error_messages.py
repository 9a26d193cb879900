"""The page of error messages quotes what is really said, word for word."""

import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDict
from torch import nn
from torch.distributions import Categorical
from torchrl.envs import Compose, Transform, TransformedEnv

from advwrap import (
    FGSM,
    PGD,
    ActionShift,
    AdversarialAction,
    AdversarialObs,
    AtMost,
    Corners,
    GapAbove,
    Gated,
    Identity,
    InStd,
    Learned,
    LinfBall,
    LowValue,
    Masked,
    Mixture,
    Noise,
    PolicyKL,
    RandomVertex,
    Search,
    SeekAction,
    Streams,
)
from advwrap.evaluation import Cell, evaluate
from advwrap.modules import Perturb
from advwrap.testing.environments import SignalEnv, SignalParallelEnv, SignalTorchRLEnv
from advwrap.training import load_agent
from advwrap.transforms import AdversarialObs as ObsTransform
from advwrap.transforms import OnCollectedPolicy
from advwrap.wrappers.workers import FrozenCopyWarning
from tests.docs.test_code_blocks import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^```text\n(.*?)\n```$", PAGE, flags=re.DOTALL | re.MULTILINE)

BALL = LinfBall(0.1)
ROWS = torch.zeros(5, 3)
NOISE = RandomVertex(BALL)


def low(value: Callable[[torch.Tensor], object]) -> FGSM:
    return FGSM(LowValue(value=value), within=BALL)


def nan_env() -> gym.Env:
    env = SignalEnv()
    return gym.wrappers.TransformObservation(env, lambda obs: obs * np.float32(np.nan), env.observation_space)


def dict_env() -> gym.Env:
    return SignalEnv(spaces.Dict(camera=spaces.Box(-2, 2, (2,)), speed=spaces.Box(-2, 2, (1,))))


def image_env() -> gym.Env:
    space = spaces.Box(0, 255, (3,), np.uint8)
    return gym.wrappers.TransformObservation(SignalEnv(), lambda obs: obs.astype(np.uint8), space)


def in_numpy(obs: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(2 * obs.numpy())


def undecided() -> Callable[[torch.Tensor], object]:
    first = iter([Categorical(logits=ROWS)])
    return lambda obs: next(first, obs)


def gradient_attack(device: str = "cpu") -> PGD:
    return PGD(ActionShift(nn.Linear(3, 2, device=device)), within=BALL)


def attacked(transform: Transform) -> TransformedEnv:
    return TransformedEnv(SignalTorchRLEnv(rows=1), transform)


def twice(transform: Transform) -> list[TransformedEnv]:
    return [attacked(transform), attacked(transform)]


def in_a_worker(cause: Callable[[], object]) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "parent_process", object)
        return cause()


def empty_card() -> object:
    folder = Path("runs/agent")
    folder.mkdir(parents=True)
    for name in ("agent.json", "agent.safetensors"):
        (folder / name).touch()
    return load_agent(folder)


def cell(*seeds: int) -> Cell:
    zeros = tuple(0.0 for _ in seeds)
    return Cell("agent", "noise", 0.1, seeds, zeros, tuple(1 for _ in seeds), zeros)


CAUSES: list[Callable[[], object]] = [
    lambda: LinfBall(-0.1),
    lambda: LinfBall(float("nan")),
    lambda: Noise(LinfBall(torch.ones(4)))(ROWS),
    lambda: LinfBall("0.1"),
    lambda: Masked(BALL, torch.ones(3)),
    lambda: AdversarialObs(image_env(), NOISE),
    lambda: Noise(LinfBall(InStd(0.1, lambda: None)))(ROWS),
    lambda: NOISE(torch.zeros(5, 3, dtype=torch.int64)),
    lambda: NOISE(torch.tensor(0.0)),
    lambda: AdversarialObs(nan_env(), NOISE).reset(),
    lambda: NOISE(torch.zeros(3, 4), generator=Streams.seeded([0, 1])),
    lambda: low(lambda obs: obs.detach().sum(-1))(ROWS),
    lambda: PGD(ActionShift(in_numpy), within=BALL)(ROWS),
    lambda: FGSM(lambda clean, context: lambda x: x.sum(), within=BALL)(ROWS),
    lambda: PGD(SeekAction(lambda obs: {"mean": obs}, target=ROWS), within=BALL)(ROWS),
    lambda: PGD(PolicyKL(undecided()), within=BALL)(ROWS),
    lambda: gradient_attack("meta")(ROWS),
    lambda: low(lambda obs: obs)(ROWS),
    LowValue,
    lambda: PGD(SeekAction(lambda obs: obs), within=BALL)(ROWS),
    lambda: PGD(LowValue(value=torch.sum), within=BALL, steps=0),
    lambda: PGD(LowValue(value=torch.sum), within=BALL, step_size=0),
    lambda: Search(LowValue(value=lambda obs: obs.sum(-1)), within=BALL, strategy=Corners())(torch.zeros(1, 17)),
    lambda: Mixture((0.5, NOISE), (0.4, Identity())),
    lambda: Learned(lambda obs: obs[:, :2], within=BALL)(torch.zeros(5, 4)),
    lambda: Gated(NOISE, AtMost(10))(ROWS),
    lambda: Gated(NOISE, GapAbove(lambda obs: obs, 0.5))(ROWS),
    lambda: AdversarialObs("Hopper-v5", NOISE),
    lambda: AdversarialObs(dict_env(), NOISE),
    lambda: AdversarialObs(gym.make("FrozenLake-v1"), NOISE),
    lambda: AdversarialAction(gym.make("CartPole-v1"), NOISE),
    lambda: AdversarialAction(gym.make("Pendulum-v1"), NOISE).step(np.zeros((1, 1))),
    lambda: AdversarialObs(SignalParallelEnv(3), NOISE, agents=["agent_9"]),
    lambda: Perturb(NOISE)(TensorDict({"observation": ROWS}, [5])),
    lambda: twice(ObsTransform(NOISE)),
    lambda: twice(Compose(ObsTransform(NOISE))),
    lambda: in_a_worker(lambda: AdversarialObs(SignalEnv(), gradient_attack())),
    lambda: in_a_worker(attacked(ObsTransform(gradient_attack())).reset),
    lambda: attacked(ObsTransform(OnCollectedPolicy(lambda policy: NOISE))).reset(),
    lambda: evaluate(lambda obs: obs[:, :1], "CartPole-v1", episodes=2),
    lambda: cell(0, 1).change(cell(0, 1, 2)),
    lambda: load_agent("runs/agent"),
    empty_card,
]


def said(cause: Callable[[], object]) -> str:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError, RuntimeError, FrozenCopyWarning)) as caught:
        cause()
    error = caught.value
    # A KeyError shows its message in quotes.
    return str(error.args[0]) if isinstance(error, KeyError) else str(error)


def test_every_message_is_quoted_and_every_quote_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    messages = [said(cause) for cause in CAUSES]
    assert sorted(messages) == sorted(QUOTED)
