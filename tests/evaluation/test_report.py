"""The report, word for word, the table, and a picture that shows what it should."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from advwrap.evaluation import (
    Cell,
    Provenance,
    Results,
    draw_curve,
    markdown,
    read_results,
    table,
    write_report,
)
from advwrap.evaluation.tables import TextTable

GOLDEN = Path(__file__).with_name("report.golden.md")


def printed(results: Results) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(results))
    return console.export_text()


class TestReport:
    def test_word_for_word(self, results: Results) -> None:
        """After a deliberate change: write `markdown(results)` to the golden file."""
        assert markdown(results) == GOLDEN.read_text(encoding="utf-8")

    def test_three_files_that_give_the_results_back(self, results: Results, tmp_path: Path) -> None:
        report = write_report(results, tmp_path / "runs" / "first")
        assert report == tmp_path / "runs" / "first" / "report.md"
        assert sorted(path.name for path in report.parent.iterdir()) == [
            "curve.png",
            "report.md",
            "results.json",
        ]
        assert read_results(report.parent) == results
        assert (report.parent / "curve.png").read_bytes().startswith(b"\x89PNG")
        assert write_report(results, report.parent) == report

    def test_costs_get_a_column(self, results: Results) -> None:
        costly = replace(results, cells=(replace(results.cells[0], costs=(1.0, 2.0)), *results.cells[1:]))
        lines = markdown(costly).splitlines()
        assert any(line.endswith("| length | cost |") for line in lines)
        assert any(line.endswith("| 15.00 | 1.500 |") for line in lines)

    def test_names_cannot_break_the_table(self) -> None:
        assert TextTable("", ("a|b",), (("c\nd",),)).markdown().splitlines() == [
            "| a\\|b |",
            "| :-- |",
            "| c d |",
        ]

    def test_nothing_measured(self, tmp_path: Path) -> None:
        write_report(Results((), Provenance("Task-v0")), tmp_path)


class TestTable:
    def test_the_worst_attack_of_every_epsilon(self, results: Results) -> None:
        text = printed(results)
        assert "Mean return under the worst attack" in text
        assert "11.00 [10.00, 12.00] (pgd)" in text
        assert "94.50 [94.00, 95.00] (noise)" in text

    def test_all_attacks_of_a_single_epsilon(self, results: Results) -> None:
        text = printed(replace(results, cells=tuple(c for c in results.cells if c.epsilon != 0.2)))
        assert "Mean return at epsilon 0.1" in text
        assert all(name in text for name in ("natural", "noise", "pgd", "worst", "plain", "robust"))


class TestCurve:
    def test_a_panel_for_the_worst_attack_and_one_per_agent(self, results: Results) -> None:
        panels = draw_curve(results).axes
        assert [panel.get_title() for panel in panels] == ["worst attack", "plain", "robust"]
        lines = {line.get_label(): line.get_ydata().tolist() for line in panels[1].lines}
        assert lines == {"noise": [102.0, 91.0, 82.0], "pgd": [102.0, 44.0, 11.0]}
        assert [line.get_ydata().tolist() for line in panels[0].lines] == [
            [102.0, 44.0, 11.0],
            [100.0, 97.0, 94.5],
        ]
        assert panels[0].lines[0].get_xdata().tolist() == [0.0, 0.1, 0.2]

    def test_a_single_agent_has_a_single_panel(self, results: Results) -> None:
        alone = replace(results, cells=tuple(c for c in results.cells if c.agent == "plain"))
        assert [panel.get_title() for panel in draw_curve(alone).axes] == ["plain"]

    @pytest.mark.parametrize("agents", [3, 6])
    def test_many_agents_wrap(self, results: Results, agents: int) -> None:
        cells = tuple(replace(c, agent=f"{c.agent} {i}") for i in range(agents // 2 + 1) for c in results.cells)
        assert len(draw_curve(replace(results, cells=cells)).axes) == 2 * (agents // 2 + 1) + 1

    def test_seeds_of_a_method_are_one_line_through_their_means(self, results: Results) -> None:
        """The worst of every seed is its own; the shade is the interval over seeds, not over episodes."""
        scores = {"sac/seed-0": (9.0, 5.0, 2.0), "sac/seed-1": (8.0, 1.0, 4.0)}
        cells = tuple(
            Cell(agent, attack, radius, (0, 1), (score - 0.5, score + 0.5), (5, 5), (radius, radius))
            for agent, given in scores.items()
            for attack, first, score in zip(("natural", "noise", "pgd"), (0.0, 0.1, 0.1), given, strict=True)
            for radius in ({first, 2 * first})
        )
        panel = draw_curve(Results(cells, Provenance("Task-v0"))).axes[0]
        lines = {line.get_label(): line.get_ydata().tolist() for line in panel.lines}
        assert lines == {"noise": [8.5, 3.0, 3.0], "pgd": [8.5, 3.0, 3.0]}
        heights = {float(y) for y in panel.collections[0].get_paths()[0].vertices[:, 1]}
        assert heights == {8.0, 9.0, 1.0, 5.0}
        both = tuple(replace(c, agent=c.agent.replace("sac", name)) for name in ("sac", "td3") for c in cells)
        worst = draw_curve(Results(both, Provenance("Task-v0"))).axes[0]
        assert [line.get_ydata().tolist() for line in worst.lines] == [[8.5, 1.5, 1.5]] * 2

    def test_seeds_at_one_radius_are_dots(self) -> None:
        """Each at its own score: naturally, under every attack, and under its own worst."""
        scores = {"sac/seed-0": (9.0, 5.0, 2.0), "sac/seed-1": (8.0, 1.0, 4.0), "td3/seed-0": (7.0, 6.0, 6.5)}
        cells = tuple(
            Cell(agent, attack, radius, (0, 1), (score, score), (5, 5), (radius, radius))
            for agent, given in scores.items()
            for attack, radius, score in zip(("natural", "noise", "pgd"), (0.0, 0.1, 0.1), given, strict=True)
        )
        panels = draw_curve(Results(cells, Provenance("Task-v0"))).axes
        shown = {panel.get_title(): [dots.get_offsets().tolist() for dots in panel.collections] for panel in panels}
        assert shown == {
            "natural": [[[9.0, 0.0], [8.0, 0.0]], [[7.0, 1.0]]],
            "noise": [[[5.0, 0.0], [1.0, 0.0]], [[6.0, 1.0]]],
            "pgd": [[[2.0, 0.0], [4.0, 0.0]], [[6.5, 1.0]]],
            "worst": [[[2.0, 0.0], [1.0, 0.0]], [[6.0, 1.0]]],
        }
        assert [[float(x) for x in line.get_xdata()] for line in panels[-1].lines] == [[1.5, 1.5], [6.0, 6.0]]

    def test_single_episodes_have_no_shade(self, results: Results) -> None:
        def first(cell: Any) -> Any:
            return replace(cell, seeds=(7,), returns=cell.returns[:1], lengths=(10,), sizes=(0.0,))

        alone = replace(results, cells=tuple(map(first, results.cells)))
        assert [len(panel.collections) for panel in draw_curve(alone).axes] == [0, 0, 0]
        assert [len(panel.collections) for panel in draw_curve(results).axes] == [2, 2, 2]
