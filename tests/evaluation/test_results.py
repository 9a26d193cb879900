"""The cells, what follows from them, and the file that holds them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advwrap.evaluation import (
    Cell,
    Provenance,
    Results,
    ResultsFileError,
    read_results,
    save_results,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    seeds = draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=5, unique=True))
    values = st.tuples(*[NUMBERS] * len(seeds))
    return Cell(
        agent=draw(st.text()),
        attack=draw(st.text()),
        epsilon=draw(st.floats(0, 1e6)),
        seeds=tuple(seeds),
        returns=draw(values),
        lengths=tuple(draw(st.lists(st.integers(0, 10**6), min_size=len(seeds), max_size=len(seeds)))),
        sizes=draw(values),
        costs=draw(st.none() | values),
    )


class TestCell:
    def test_interval_of_a_single_episode_is_unbounded(self) -> None:
        interval = Cell("a", "b", 0.1, (0,), (3.0,), (1,), (0.1,)).interval()
        assert (interval.value, interval.low, interval.high) == (3.0, -math.inf, math.inf)

    def test_change_pairs_by_seed_and_not_by_position(self, results: Results) -> None:
        natural, attacked = results.cells[0], results.cells[2]
        shuffled = replace(attacked, seeds=attacked.seeds[::-1], returns=attacked.returns[::-1])
        assert attacked.change(natural).value == -58.0
        assert shuffled.change(natural) == attacked.change(natural)
        assert (attacked.change(natural).low, attacked.change(natural).high) == (-60.0, -56.0)

    def test_change_of_other_seeds_is_refused(self, results: Results) -> None:
        other = replace(results.cells[0], seeds=(8, 9))
        with pytest.raises(ValueError, match=r"same seeds, got \[7, 9\] in one only. Fix: evaluate both"):
            results.cells[2].change(other)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"epsilon": -0.1}, "`epsilon` must be >= 0, got -0.1."),
            ({"epsilon": math.nan}, "`epsilon` must be >= 0, got nan."),
            ({"seeds": ()}, "`seeds` must hold at least one episode"),
            ({"seeds": (7, 7)}, "`seeds` must all differ, got (7, 7)."),
            ({"returns": (1.0,)}, "`returns` must have one entry per episode (2), got 1."),
            ({"returns": (1.0, math.nan)}, "`returns` must be finite"),
            ({"costs": (1.0,)}, "`costs` must have one entry per episode (2), got 1."),
        ],
    )
    def test_bad_cells(self, results: Results, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            replace(results.cells[0], **change)


class TestResults:
    def test_names_in_the_order_of_measurement(self, results: Results) -> None:
        assert results.agents == ("plain", "robust")
        assert results.attacks == ("noise", "pgd")
        assert results.epsilons == (0.1, 0.2)

    def test_the_worst_attack_differs_between_agents_and_epsilons(self, results: Results) -> None:
        worst = {(a, e): results.worst(a, e) for a in results.agents for e in results.epsilons}
        assert {key: cell and cell.attack for key, cell in worst.items()} == {
            ("plain", 0.1): "pgd",
            ("plain", 0.2): "pgd",
            ("robust", 0.1): "noise",
            ("robust", 0.2): "noise",
        }

    def test_what_was_not_measured_is_none(self, results: Results) -> None:
        assert results.worst("plain", 0.3) is None
        assert results.find("plain", "fgsm", 0.1) is None
        assert results.natural("other") is None

    def test_a_cell_twice_is_refused(self, results: Results) -> None:
        with pytest.raises(ValueError, match=r"once, got \[\('plain', 'natural', 0.0\)\] again"):
            replace(results, cells=(results.cells[0], results.cells[0]))


class TestFile:
    @settings(deadline=None)
    @given(st.lists(cells(), max_size=4, unique_by=lambda cell: (cell.agent, cell.attack, cell.epsilon)))
    def test_round_trip_to_the_bit(self, tmp_path_factory: pytest.TempPathFactory, found: list[Cell]) -> None:
        results = Results(tuple(found), Provenance("Task-v0", 3, "advwrap demo", None, {"torch": "2.13"}))
        path = save_results(results, tmp_path_factory.mktemp("round") / "results.json")
        assert read_results(path) == results

    def test_the_folder_will_do(self, results: Results, tmp_path: Path) -> None:
        save_results(results, tmp_path / "new" / "results.json")
        assert read_results(tmp_path / "new") == results
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["results.json"]

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_results(tmp_path / "none.json")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is not a JSON file"),
            ("{", "is not a JSON file"),
            ('{"a": NaN}', "is not a JSON file: NaN is not JSON"),
            ("[" * 100_000, "is not a JSON file"),
            ("\udcff", "is not a JSON file"),
            ("[]", "file must be a JSON object, got list."),
            ("{}", "`format` must be 'advwrap-results', got None."),
            ('{"format": "advwrap-results"}', "file must have the field `schema`, got ['format']."),
            (
                '{"format": "advwrap-results", "schema": 99}',
                "`schema` must be at most 1, got 99. Fix: update advwrap.",
            ),
            ('{"format": "advwrap-results", "schema": true}', "must be an integer, got True"),
        ],
    )
    def test_something_else(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "results.json"
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(ResultsFileError) as raised:
            read_results(path)
        assert message in str(raised.value)
        assert str(path) in str(raised.value)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda c: c.pop("cells"), "file must have the field `cells`"),
            (lambda c: c.update(cells={}), "`cells` of file is damaged: must be a list, got {}."),
            (lambda c: c.update(cells=[3]), "cell 0 must be a JSON object, got int."),
            (
                lambda c: c["provenance"].update(versions=[]),
                "`versions` of provenance is damaged: must be an object",
            ),
            (
                lambda c: c["provenance"].update(commit=1),
                "`commit` of provenance is damaged: must be a text, got 1.",
            ),
            (lambda c: c["cells"][1].pop("seeds"), "cell 1 must have the field `seeds`"),
            (
                lambda c: c["cells"][1].update(returns=["9", 1]),
                "`returns` of cell 1 is damaged: must be a number, got '9'.",
            ),
            (
                lambda c: c["cells"][1].update(returns=[10**400, 1]),
                "`returns` of cell 1 is damaged",
            ),
            (
                lambda c: c["cells"][1].update(returns=[1.0]),
                "`returns` must have one entry per episode (2), got 1.",
            ),
            (
                lambda c: c["cells"].append(c["cells"][0]),
                "`cells` must hold each agent, attack and epsilon once",
            ),
        ],
    )
    def test_damage(self, results: Results, tmp_path: Path, damage: Any, message: str) -> None:
        path = save_results(results, tmp_path / "results.json")
        content = json.loads(path.read_text())
        damage(content)
        path.write_text(json.dumps(content))
        with pytest.raises(ResultsFileError) as raised:
            read_results(path)
        assert message in str(raised.value)


def test_provenance_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.orig_argv", ["/usr/bin/python", "-m", "advwrap", "demo"])
    here = Provenance.here("Task-v0", seed=4)
    assert (here.env, here.seed) == ("Task-v0", 4)
    assert here.command == "python -m advwrap demo"
    assert {"python", "numpy", "torch"} <= set(here.versions)


def test_provenance_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert Provenance.here("Task-v0").commit is None


@pytest.mark.parametrize(
    ("typed", "program", "command"),
    [
        (
            ["/opt/bin/python", "/opt/bin/advwrap", "demo", "--out", "a b"],
            "/opt/bin/advwrap",
            "advwrap demo --out 'a b'",
        ),
        (
            ["/opt/bin/python", "examples/first.py", "3"],
            "examples/first.py",
            "python examples/first.py 3",
        ),
        (
            ["python", "-m", "advwrap", "demo"],
            "/opt/lib/advwrap/__main__.py",
            "python -m advwrap demo",
        ),
        (["python"], "", "python"),
    ],
)
def test_the_command_is_runnable_elsewhere(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], program: str, command: str
) -> None:
    monkeypatch.setattr("sys.orig_argv", typed)
    monkeypatch.setattr("sys.argv", [program])
    assert Provenance.here("Task-v0").command == command
