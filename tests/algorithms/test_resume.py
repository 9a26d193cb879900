"""A training that is killed and started again writes the numbers of one that never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advwrap.algorithms import (
    OAPI,
    PPO,
    SAC,
    TD3,
    ActionRobustTD3,
    Alternating,
    DiscreteSAC,
    OffPolicy,
    RobustAdvantage,
    TrainingAttack,
    ValtEps,
    ValtSoft,
    Wocar,
)
from advwrap.algorithms.recipe import from_json, to_json
from advwrap.testing.contracts.rules import global_randomness_untouched
from advwrap.training import Normaliser, Running, TrainedAgent
from advwrap.training.checkpoint import CheckpointError
from advwrap.wrappers import PAAD

TINY = {"steps": 200, "random_steps": 40, "hidden": (8, 8), "batch_size": 16, "log_every": 1, "checkpoint_every": 80}
TASK = "InvertedDoublePendulum-v5"

ADVERSARY = PPO(envs=3, horizon=10, epochs=2, minibatches=2)

TRAININGS = {
    "VALT-EPS": SAC(TASK, ValtEps(0.1, regulariser=1.0), prioritised=True, **TINY),
    "VALT-SOFT": SAC(TASK, ValtSoft(0.1, temperature=1.0, reset_every=80), **TINY),
    "alternating": SAC(TASK, Alternating(0.1, ADVERSARY, adversary_steps=2.0), **TINY),
    "PA alternating": TD3(TASK, Alternating(0.1, ADVERSARY, PAAD(), adversary_steps=2.0), **TINY),
    "WocaR": SAC(TASK, Wocar(0.1, mean_action=True), **TINY),
    "TD3": TD3(TASK, TrainingAttack(0.1), **TINY),
    "OA-TD3": TD3(TASK, OAPI(0.2, ramp=(0.0, 0.8), adversarial_ratio=0.5), **TINY),
    "PR-MDP": ActionRobustTD3(TASK, game="probabilistic", **TINY),
    "discrete": DiscreteSAC("CartPole-v1", ValtEps(0.1), **TINY),
}


class KilledError(Exception):
    """The end of a process."""


def logged(folder: Path) -> dict[str, list[str]]:
    return {file.name: file.read_text().splitlines() for file in sorted((folder / "log" / "scalars").glob("*.csv"))}


def resumed(config: OffPolicy | PPO, folder: Path, *, at: int) -> TrainedAgent:
    """Train to the end from the checkpoint of this step: a training that begins anew writes the same log."""
    counted: list[int] = []
    agent = config.train(out=folder, advance=counted.append)
    assert counted[0] == at, f"it must go on from step {at}, and did from {counted[0]}."
    return agent


SLOW = ("VALT-EPS", "WocaR", "TD3", "VALT-SOFT", "PA alternating", "PR-MDP")
"""Nightly only: `test_kill_minus_nine` is VALT-EPS, and the others share their parts with those that stay."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TRAININGS])
def test_the_log_and_the_weights_are_those_of_an_uninterrupted_training(name: str, tmp_path: Path) -> None:
    config = TRAININGS[name]
    whole = config.train(out=tmp_path / "whole")
    frames = 0

    def advance(new: int) -> None:
        nonlocal frames
        frames += new
        if frames >= 160:  # 80 steps after the checkpoint
            raise KilledError

    with pytest.raises(KilledError):
        config.train(out=tmp_path / "broken", advance=advance)
    broken = resumed(config, tmp_path / "broken", at=80)
    assert logged(tmp_path / "whole") == logged(tmp_path / "broken")
    for (key, ours), theirs in zip(broken.actor.state_dict().items(), whole.actor.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), key


SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from advwrap.algorithms.recipe import from_json, to_json
seen = 0
def advance(new):
    global seen
    if seen == 0:
        Path(sys.argv[1] + ".began").write_text(str(new))
    seen += new
    if seen >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
from_json(sys.argv[3]).train(out=Path(sys.argv[1]), advance=advance)
"""
LOGGED = {**TINY, "random_steps": 20, "checkpoint_every": 20, "prioritised": True}
STEP_BY_STEP = SAC(TASK, ValtEps(0.1, regulariser=1.0), **{**LOGGED, "steps": 172, "envs": 1, "frames_per_batch": 1})
AS_PRESETS_ARE = SAC(
    TASK,
    ValtSoft(0.1, temperature=1.0, reset_every=100, regulariser=1.0),
    **{**LOGGED, "steps": 720, "envs": 4, "frames_per_batch": 4, "huber": True, "compile": True},
)


@pytest.mark.parametrize(
    "config", [STEP_BY_STEP, pytest.param(AS_PRESETS_ARE, marks=pytest.mark.slow)], ids=["eager", "compiled"]
)
def test_kill_minus_nine(config: SAC, tmp_path: Path) -> None:
    """In processes of their own: at least a thousand numbers after the kill are the same."""
    never = 10**9

    def run(folder: str, kill_at: int) -> int:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / folder), str(kill_at), to_json(config)]
        return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode

    assert run("whole", never) == 0
    assert run("broken", 28) == -signal.SIGKILL
    assert run("broken", never) == 0
    # From the checkpoint of step 20: a training that begins anew writes the same log.
    began = [int((tmp_path / f"{name}.began").read_text()) for name in ("whole", "broken")]
    assert began == [config.frames_per_batch, 20]
    whole, broken = logged(tmp_path / "whole"), logged(tmp_path / "broken")
    assert whole == broken
    after = sum(1 for lines in whole.values() for line in lines if float(line.split(",")[0]) > 28)
    assert after >= 1_000


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param(
            {"advantage": RobustAdvantage(0.2, updates=4, batch_size=16, ramp=(0.0, 0.5), adversarial_ratio=0.5)},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["PPO", "OA-PPO"],
)
def test_ppo_writes_the_numbers_of_an_uninterrupted_training(options: dict[str, Any], tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"steps": 300, "envs": 3, "horizon": 20, "minibatches": 4, "epochs": 2, "hidden": (8, 8)}
    config = PPO(TASK, normaliser=Running(), checkpoint_every=120, **sizes, **options)
    whole = config.train(out=tmp_path / "whole")
    frames = 0

    def advance(new: int) -> None:
        nonlocal frames
        frames += new
        if frames >= 180:  # a round after the checkpoint
            raise KilledError

    with pytest.raises(KilledError):
        config.train(out=tmp_path / "broken", advance=advance)
    with global_randomness_untouched():
        broken = resumed(config, tmp_path / "broken", at=120)
    assert logged(tmp_path / "whole") == logged(tmp_path / "broken")
    names = {"return_while_learning.csv", "loss_objective.csv", "policy_std.csv"}
    names |= {"loss_robust_qvalue.csv", "search_gap_p95.csv", "robust_advantage_std.csv"} if options else set()
    assert names <= logged(tmp_path / "whole").keys()
    assert broken.digest() == whole.digest()
    assert broken.card == whole.card
    counted: list[int] = []
    again = config.train(out=tmp_path / "whole", advance=counted.append)
    assert (again.digest(), counted) == (whole.digest(), [300])  # a finished one is not trained again
    with pytest.raises(CheckpointError, match=r"it was made with seed=0 \(here 1\)\. Fix"):
        replace(config, seed=1).train(out=tmp_path / "whole")


@pytest.mark.parametrize(
    "config",
    [
        SAC(TASK, **{**TINY, "steps": 120, "checkpoint_every": 100}),
        PPO(TASK, steps=120, envs=2, horizon=20, minibatches=2, epochs=1, hidden=(8,), checkpoint_every=120),
    ],
    ids=["SAC", "PPO"],
)
def test_killed_before_the_first_checkpoint(config: OffPolicy | PPO, tmp_path: Path) -> None:
    """It begins anew, and the log has no line twice."""

    def stop(new: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        config.train(out=tmp_path, advance=stop)
    assert any(logged(tmp_path).values())
    config.train(out=tmp_path, advance=lambda new: None)
    for name, lines in logged(tmp_path).items():
        steps = [line.partition(",")[0] for line in lines]
        assert len(steps) == len(set(steps)), name


def test_statistics_are_part_of_a_training(tmp_path: Path) -> None:
    """Another normaliser is another training, and stands in the agent's file."""
    options: dict[str, Any] = {"steps": 40, "envs": 2, "horizon": 20, "minibatches": 2, "epochs": 1, "hidden": (8,)}
    ones = np.ones(9)
    config = PPO(TASK, normaliser=Normaliser(0.5 * ones, 2 * ones), **options)
    agent = config.train(out=tmp_path)
    with pytest.raises(CheckpointError, match=r"it was made with normaliser\.std=.*0\] \(here "):
        replace(config, normaliser=Normaliser(0.5 * ones, ones)).train(out=tmp_path)
    again = from_json(json.dumps(agent.card)).train()
    assert again.digest() == agent.digest()


def test_another_training_is_refused(tmp_path: Path) -> None:
    config: OffPolicy = TRAININGS["TD3"]
    config.train(out=tmp_path)
    with pytest.raises(CheckpointError, match=r"it was made with seed=0 \(here 1\)\. Fix"):
        replace(config, seed=1).train(out=tmp_path)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    config = TRAININGS["TD3"]
    first = config.train(out=tmp_path)
    again = config.train(out=tmp_path)
    for ours, theirs in zip(again.actor.state_dict().values(), first.actor.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_weights_so_far_are_remembered(tmp_path: Path) -> None:
    """With a score, as the command line trains: what it said before the kill counts afterwards."""
    config = replace(TRAININGS["TD3"], evaluate_every=40)
    scores = {40: 1.0, 80: 5.0, 120: 3.0, 160: 2.0, 200: 0.0}

    def trained(folder: str, kill_at: int) -> TrainedAgent:
        calls = iter(range(40 if kill_at else 120, 240, 40))  # after the restart: what the checkpoint has not seen
        frames = 0

        def advance(new: int) -> None:
            nonlocal frames
            frames += new
            if kill_at and frames >= kill_at:
                raise KilledError

        return config.train(out=tmp_path / folder, score=lambda agent: scores[next(calls)], advance=advance)

    with pytest.raises(KilledError):
        trained("broken", 120)
    agent = trained("broken", 0)
    assert agent.card["kept"] == 80
    assert [frames for frames, _ in agent.card["history"]] == [40, 80, 120, 160, 200]


def test_what_is_kept_is_what_was_measured() -> None:
    """Its statistics of the observations too; and nothing is measured before `evaluate_from`."""
    config = replace(TRAININGS["TD3"], evaluate_every=40, evaluate_from=80)
    measured: list[str] = []

    def score(agent: TrainedAgent) -> float:
        measured.append(agent.digest())
        return -len(measured)

    agent = config.train(score=score)
    assert [frames for frames, _ in agent.card["history"]] == [80, 120, 160, 200]
    assert agent.card["kept"] == 80
    assert agent.digest() == measured[0]
    assert len(set(measured)) == 4


def test_another_start_is_refused(tmp_path: Path) -> None:
    config = TRAININGS["TD3"]
    first, second = (replace(config, seed=seed, steps=41).train() for seed in (0, 1))
    config.train(first, out=tmp_path)
    with pytest.raises(CheckpointError, match="must be a checkpoint of this training"):
        config.train(second, out=tmp_path)
    with pytest.raises(CheckpointError):
        config.train(out=tmp_path)
