"""How good is an agent under attack: paired episodes, intervals, curves over epsilon, and a report.

| step | names |
|---|---|
| play | `evaluate` (one cell), `evaluate_grid` (agents x attacks x epsilons), `Agent` |
| keep | `Cell`, `Results`, `Provenance`, `save_results`, `read_results` |
| judge | `mean`, `std`, `iqm`, `bootstrap_interval`, `paired_difference`, `Interval` |
| show | `write_report`, `markdown`, `table`, `save_curve` |
"""

from advwrap.evaluation.acting import Acts, Agent, acting
from advwrap.evaluation.episodes import play
from advwrap.evaluation.grid import evaluate_grid
from advwrap.evaluation.plots import draw_curve, save_curve
from advwrap.evaluation.provenance import Provenance
from advwrap.evaluation.report import markdown, write_report
from advwrap.evaluation.results import NATURAL, Cell, Results
from advwrap.evaluation.results_file import ResultsFileError, read_results, save_results
from advwrap.evaluation.rollouts import Channel, EnvSource, evaluate
from advwrap.evaluation.statistics import (
    Interval,
    Statistic,
    bootstrap_interval,
    iqm,
    mean,
    paired_difference,
    std,
)
from advwrap.evaluation.tables import table

__all__ = [
    "NATURAL",
    "Acts",
    "Agent",
    "Cell",
    "Channel",
    "EnvSource",
    "Interval",
    "Provenance",
    "Results",
    "ResultsFileError",
    "Statistic",
    "acting",
    "bootstrap_interval",
    "draw_curve",
    "evaluate",
    "evaluate_grid",
    "iqm",
    "markdown",
    "mean",
    "paired_difference",
    "play",
    "read_results",
    "save_curve",
    "save_results",
    "std",
    "table",
    "write_report",
]
