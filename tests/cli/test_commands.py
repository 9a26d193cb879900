"""The command line, end to end on trainings of a few steps."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import mujoco
import numpy as np
import pytest

from advwrap import LinfBall, Noise
from advwrap.algorithms import PPO, OffPolicy, preset
from advwrap.algorithms.presets import ALIASES, DEFENCES, LEARNERS
from advwrap.algorithms.recipe import Training
from advwrap.cli import main
from advwrap.cli.catalogue import Kind, blocks
from advwrap.cli.simulator import each_deprecation_once
from advwrap.cli.train import scoring
from advwrap.evaluation.attack_makers import RobustSarsaScan
from advwrap.evaluation.results_file import read_results
from advwrap.progress import Advance
from advwrap.training import Running, TrainedAgent, load_agent, save_agent


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_block_is_listed_with_what_it_does(kind: str) -> None:
    rows = blocks(kind)
    assert rows
    for name, what, _ in rows:
        assert what.endswith("."), name


@pytest.mark.parametrize("kind", ["attacks", "objectives", "algorithms"])
def test_every_attack_objective_and_algorithm_names_its_source(kind: str) -> None:
    assert [name for name, _, source in blocks(kind) if not source] == []


def test_the_kinds_do_not_overlap() -> None:
    names = [name for kind in ("attacks", "budgets", "strategies") for name, *_ in blocks(kind)]
    assert len(names) == len(set(names))
    assert {"PGD", "AtMost", "Square", "Search"} <= set(names)


def test_only_what_is_composed_is_listed() -> None:
    names = {name for kind in get_args(Kind) for name, *_ in blocks(kind)}
    others = {"Divergent", "LossTemperature", "LowestOverScan", "Strategy", "Budget", "PPOTraining", "SarsaTraining"}
    assert names & (others | {"Defence", "Hardening", "OffPolicy", "Bounds", "kl_divergence"}) == set()
    assert {"PerturbPlaces", "epsilon_worst", "policy_direction", "ShuffledSarsa"} <= names


def test_the_list_shows_no_markup() -> None:
    texts = [text for kind in get_args(Kind) for _, *row in blocks(kind) for text in row]
    assert [text for text in texts if re.search(r"``|::|:\w+:`|(^|\s)\*\w", text)] == []


def test_list_prints_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "objectives"])
    assert "LowValue" in capsys.readouterr().out


def test_train_evaluate_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent, report = tmp_path / "plain", tmp_path / "report"
    main(["train", "sac", "--env", "InvertedPendulum-v5", "--steps", "80", "--out", str(agent)])
    assert json.loads((agent / "agent.json").read_text())["config"]["steps"] == 80
    main(["evaluate", str(agent), "--epsilons", "0.1", "--episodes", "2", "--out", str(report)])
    assert {"report.md", "curve.png", "results.json"} <= {file.name for file in report.iterdir()}
    (report / "report.md").unlink()
    main(["report", str(report)])
    assert "black box" in (report / "report.md").read_text()
    assert "plain" in capsys.readouterr().out


def test_evaluate_an_agent_of_ppo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its black box, its policy, and its critic of states."""
    learner = PPO("InvertedPendulum-v5", normaliser=Running(), steps=128, envs=2, horizon=32, epochs=1, minibatches=2)
    save_agent(tmp_path / "ppo", learner.train(advance=lambda frames: None))
    main(["evaluate", str(tmp_path / "ppo"), "--epsilons", "0.1", "--episodes", "2", "--out", str(tmp_path)])
    results = read_results(tmp_path / "results.json")
    assert results.attacks == ("noise", "MAD", "PGD on V", "black box")
    pgd = results.find("ppo", "PGD on V", 0.1)
    assert pgd is not None
    assert max(pgd.sizes) == pytest.approx(0.1, rel=1e-5)
    assert "PGD on V" in capsys.readouterr().out


def test_train_ppo_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "ppo", "--env", "InvertedPendulum-v5", "--steps", "100", "--out", str(tmp_path)])
    first = load_agent(tmp_path)
    assert first.card["kept"] == 2048  # whole rounds
    main(["train", "--like", str(tmp_path / "agent.json"), "--out", str(tmp_path / "again")])
    assert load_agent(tmp_path / "again").digest() == first.digest()
    for refused in (["--best"], ["--device", "cuda"], ["--start", str(tmp_path)]):
        with pytest.raises(SystemExit):
            main(["train", "ppo", "--env", "InvertedPendulum-v5", "--out", str(tmp_path / "none"), *refused])
        assert f"`{refused[0][2:]}` must be left out: PPO trains" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "ppo", "--env", "InvertedPendulum-v5", "--out", str(tmp_path / "none"), "--epsilon", "0.1"])
    assert "`epsilon` must be left out" in capsys.readouterr().err


def test_train_by_name_with_several_seeds(tmp_path: Path) -> None:
    arguments = ["--env", "InvertedPendulum-v5", "--steps", "40", "--epsilon", "0.2", "--out", str(tmp_path)]
    main(["train", "valt-eps-td3", "--seed", "3", "4", *arguments])
    for seed in (3, 4):
        card = json.loads((tmp_path / f"seed-{seed}" / "agent.json").read_text())
        assert (card["config"]["type"], card["config"]["seed"]) == ("TD3", seed)
        assert (card["config"]["defence"]["type"], card["config"]["defence"]["epsilon"]) == ("ValtEps", 0.2)


def test_evaluate_groups_seeds_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--env", "InvertedPendulum-v5", "--steps", "40", "--out", str(tmp_path / "sac")]
    main(["train", "sac", "--seed", "3", "4", *arguments])
    folders = [str(tmp_path / "sac" / f"seed-{seed}") for seed in (3, 4)]
    command = ["evaluate", *folders, "--suite", "observation", "--learned", "--epsilons", "0.1", "--episodes", "2"]
    # No training of critics here: robust Sarsa is the part that takes minutes.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RobustSarsaScan, "__call__", lambda self, agent, epsilon: Noise(LinfBall(epsilon)))
        main([*command, "--out", str(tmp_path)])
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
        assert len(kept) == 2 * (1 + 5)
        main([*command, "--out", str(tmp_path)])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()} == kept
    assert "Mean over seeds" in capsys.readouterr().out
    assert "sac/seed-3" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(("flag", "compiled"), [([], False), (["--compile"], True), (["--no-compile"], False)])
@pytest.mark.parametrize("env", ["InvertedPendulum-v5", "Hopper-v5"])
def test_compile_is_a_flag_that_may_be_left_out(
    env: str, flag: list[str], compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the preset decides: yes for the tasks of the paper."""
    configs = []

    def untrained(config: OffPolicy, out: Path, *, start: TrainedAgent | None = None, best: bool) -> SimpleNamespace:
        configs.append(config)
        return SimpleNamespace(card={"kept": 0})

    monkeypatch.setattr("advwrap.cli.train.run", untrained)
    main(["train", "sac", "--env", env, "--out", str(tmp_path), *flag])
    assert [config.compile for config in configs] == [compiled or (not flag and env == "Hopper-v5")]


def test_the_radius_is_that_of_what_defends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = {}

    def untrained(config: Training, out: Path, *, start: TrainedAgent | None = None, best: bool) -> SimpleNamespace:
        configs[out.name] = config
        return SimpleNamespace(card={"kept": 0})

    monkeypatch.setattr("advwrap.cli.train.run", untrained)
    for name in ("oa-ppo", "oa-td3", "valt-eps", "nr-td3"):
        main(["train", name, "--env", "Hopper-v5", "--epsilon", "0.4", "--out", str(tmp_path / name)])
    assert configs["oa-ppo"].advantage.epsilon == 0.4
    assert configs["oa-td3"].defence.epsilon == configs["valt-eps"].defence.epsilon == 0.4
    assert configs["nr-td3"].alpha == 0.4


@pytest.mark.parametrize("name", ["oa-td3", "oa-discrete-sac", "valt-eps-sac"])
def test_the_best_weights_are_chosen_under_attack(name: str) -> None:
    env = "CartPole-v1" if "discrete" in name else "InvertedPendulum-v5"
    config = preset(name, env, steps=40, random_steps=40, batch_size=16)
    assert scoring(config)(config.train()) >= 1.0  # every step that the pole stands


def test_the_help_names_every_training_and_every_other_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    assert {f"{defence}-sac" for defence in DEFENCES if defence} | set(LEARNERS) | set(ALIASES) <= said


def test_an_unknown_name_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "valt"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("advwrap: `name` must be that of a training, got ")


def test_the_simulator_repeats_no_deprecation_and_hides_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ball = "<worldbody><body><freejoint/><geom size='1'/></body></worldbody>"
    unstable = "WARNING: Nan, Inf or huge value in QVEL at DOF 0. The simulation is unstable. Time = 0.0000."
    before = mujoco.get_mju_user_warning()
    try:
        each_deprecation_once()
        for _ in range(2):
            mujoco.MjModel.from_xml_string(f"<mujoco><compiler settotalmass='1'/>{ball}</mujoco>")
            model = mujoco.MjModel.from_xml_string(f"<mujoco>{ball}</mujoco>")
            data = mujoco.MjData(model)
            data.qvel[:] = np.nan
            mujoco.mj_step(model, data)
    finally:
        mujoco.set_mju_user_warning(before)
    said = capfd.readouterr().err.splitlines()
    assert said.count(unstable) == 2
    assert sum("deprecated" in line for line in said) <= 1  # older versions do not mind the attribute
    assert len(said) <= 3


@pytest.mark.parametrize(("command", "before"), [("evaluate", "train"), ("report", "evaluate")])
def test_a_wrong_folder_is_one_line_and_status_2(
    command: str, before: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, str(tmp_path / "nothing")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("advwrap: `")
    assert f"advwrap {before}" in said
    assert "\n" not in said


def test_a_task_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "sac", "--env", "InvertedPendulm-v5", "--out", str(tmp_path / "a")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("advwrap: ")
    assert "InvertedPendulum" in said
    assert "Traceback" not in said
    assert not (tmp_path / "a").exists()


class KilledError(Exception):
    """What a kill is in one process."""


def test_a_training_says_where_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*shlex.split("train sac --env Pendulum-v1 --steps 200 --checkpoint-every 80 --out"), str(tmp_path)]

    @contextmanager
    def killed(description: str, *, total: int) -> Iterator[Advance]:
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            if done >= 100:
                raise KilledError

        yield advance

    with monkeypatch.context() as patched:
        patched.setattr("advwrap.cli.train.progress", killed)
        with pytest.raises(KilledError):
            main(command)
    assert "going on" not in capsys.readouterr().out
    main(command)
    assert "going on from step 80: " in capsys.readouterr().out
    main(command)
    assert "finished before: " in capsys.readouterr().out
