"""The tables of the docs are those of the results beside them: a comment above a table says which.

`<!-- results: FOLDER at EPSILON: METHOD METHOD ... -->` has a row per method and a column per attack;
`<!-- results: FOLDER: METHOD METHOD ... -->` a column per radius, with the worst attack of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from advwrap.evaluation.results import Cell, Results
from advwrap.evaluation.results_file import read_results
from advwrap.evaluation.seeds import methods
from advwrap.evaluation.statistics import interval
from advwrap.evaluation.tables import NOT_MEASURED
from tests.docs.test_code_blocks import ROOT

DOCS = ROOT / "docs"
TABLE = re.compile(r"<!-- results: (\S+?)(?: at (\S+))?: (.+?) -->\n((?:\|.*\n)+)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
FOUND = [(page, match) for page in sorted(DOCS.rglob("*.md")) for match in TABLE.finditer(page.read_text())]
Measure = Callable[[str], Cell | None]


def measure(results: Results, epsilon: str | None, header: str) -> Measure:
    """What a column of this name shows of an agent."""
    if header == "natural":
        return results.natural
    if epsilon is None:
        return lambda agent: results.worst(agent, float(header))
    if header.startswith("worst"):
        return lambda agent: results.worst(agent, float(epsilon))
    (attack,) = (name for name in results.attacks if name.partition(" (")[0] == header)
    return lambda agent: results.find(agent, attack, float(epsilon))


def means(measured: Measure, agents: Sequence[str]) -> list[float]:
    cells = [measured(agent) for agent in agents]
    return [cell.mean_return for cell in cells if cell is not None]


def rows(table: str) -> Iterator[list[str]]:
    for line in table.strip().splitlines():
        yield [cell.strip(" *") for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("page", "match"), FOUND, ids=[f"{page.stem}-{match[1]}-{number}" for number, (page, match) in enumerate(FOUND)]
)
def test_a_table_shows_what_was_measured(page: Path, match: re.Match[str]) -> None:
    folder, epsilon, names, table = match.groups()
    results = read_results(DOCS / "results" / folder / "results.json")
    seeds = methods(results)
    (_, *headers), _, *body = rows(table)
    assert len(body) == len(names.split()), "a row per method"
    for name, (shown_as, *cells) in zip(names.split(), body, strict=True):
        for header, text in zip(headers, cells, strict=True):
            if header == "kept":
                worst, natural = (means(measure(results, epsilon, h), seeds[name]) for h in ("worst", "natural"))
                expected = [100 * sum(worst) / sum(natural)]
            else:
                measured = means(measure(results, epsilon, header), seeds[name])
                if not measured:
                    assert text == NOT_MEASURED, f"{shown_as}, {header}: {text}, and it was not measured"
                    continue
                found = interval(measured)
                expected = [found.value, found.low, found.high]
            shown = NUMBER.findall(text)
            assert shown, f"{shown_as}, {header}: no number"
            for number, value in zip(shown, expected, strict=False):
                unit = 10.0 ** -len(number.partition(".")[2])
                assert abs(float(number) - value) <= unit / 2 + 1e-9, f"{shown_as}, {header}: {number}, not {value}"


def test_tables_are_found() -> None:
    """So that a misspelt comment does not turn the tests off."""
    assert len(FOUND) == sum(page.read_text().count("<!-- results") for page in DOCS.rglob("*.md"))
    assert len(FOUND) >= 4


def test_the_worst_cases_of_the_readme() -> None:
    """Each row is one experiment, with an undefended agent and a defended one."""
    experiments = {
        "halfcheetah": ("sac", "valt-eps-sac"),
        "pendulum": ("sac", "valt-eps-sac"),
        "actions-hopper": ("td3", "oa-td3"),
        "actions-pendulum": ("ppo", "oa-ppo"),
    }
    table = (ROOT / "README.md").read_text().partition("<!-- worst cases -->\n")[2].partition("\n\n")[0]
    _, _, *body = rows(table)
    for (folder, names), (_, where, *shown) in zip(experiments.items(), body, strict=True):
        results = read_results(DOCS / "results" / folder / "results.json")
        seeds, epsilon = methods(results), where.split(", ")[1]
        for name, natural, worst in zip(names, shown[1::3], shown[2::3], strict=True):
            for header, text in (("natural", natural), ("worst", worst)):
                assert text == f"{interval(means(measure(results, epsilon, header), seeds[name])).value:.0f}", (
                    name,
                    header,
                )
