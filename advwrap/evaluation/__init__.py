"""How good is an agent under attack: paired episodes, intervals, curves over epsilon, and a report.

| step | names |
|---|---|
| play | `evaluate` (one cell), `evaluate_grid` (agents x attacks x epsilons), `Agent` |
| keep | `Cell`, `Results`, `Provenance`, `save_results`, `read_results` |
| judge | `mean`, `std`, `iqm`, `bootstrap_interval`, `paired_difference`, `Interval` |
| suites | `evaluate_suite`: `GradientSuite`, `ObservationSuite`, `ActionSuite`, `GameSuite`, `FaultSuite`, yours |
| attack | `train_attacker` (SA-RL, PA-AD), `scan_attackers` (the minimum over a `grid`), `RayExecutor` |
| show | `write_report`, `markdown`, `table`, `save_curve` |
"""

from advwrap.evaluation.acting import Acts, Agent, acting
from advwrap.evaluation.attack_makers import (
    AttackMaker,
    BlackBox,
    LargestShift,
    LearnedScan,
    LowestValue,
    RobustSarsaScan,
    Uniform,
)
from advwrap.evaluation.attackers import Learns, TrainedAttacker, train_attacker
from advwrap.evaluation.episodes import play
from advwrap.evaluation.grid import evaluate_grid
from advwrap.evaluation.measure import evaluate_suite
from advwrap.evaluation.plots import draw_curve, save_curve
from advwrap.evaluation.ray_executor import RayExecutor
from advwrap.evaluation.report import markdown, write_report
from advwrap.evaluation.results import NATURAL, Cell, Results
from advwrap.evaluation.results_file import ResultsFileError, read_results, save_results
from advwrap.evaluation.rollouts import Channel, EnvSource, evaluate
from advwrap.evaluation.scan import Scan, Trial, grid, scan_attackers
from advwrap.evaluation.statistics import (
    Interval,
    Statistic,
    bootstrap_interval,
    iqm,
    mean,
    paired_difference,
    std,
)
from advwrap.evaluation.suites import ActionSuite, FaultSuite, GameSuite, GradientSuite, ObservationSuite, Suite
from advwrap.evaluation.tables import table
from advwrap.provenance import Provenance
from advwrap.wrappers import PAAD, SARL, AttackerKind

__all__ = [
    "NATURAL",
    "PAAD",
    "SARL",
    "ActionSuite",
    "Acts",
    "Agent",
    "AttackMaker",
    "AttackerKind",
    "BlackBox",
    "Cell",
    "Channel",
    "EnvSource",
    "FaultSuite",
    "GameSuite",
    "GradientSuite",
    "Interval",
    "LargestShift",
    "LearnedScan",
    "Learns",
    "LowestValue",
    "ObservationSuite",
    "Provenance",
    "RayExecutor",
    "Results",
    "ResultsFileError",
    "RobustSarsaScan",
    "Scan",
    "Statistic",
    "Suite",
    "TrainedAttacker",
    "Trial",
    "Uniform",
    "acting",
    "bootstrap_interval",
    "draw_curve",
    "evaluate",
    "evaluate_grid",
    "evaluate_suite",
    "grid",
    "iqm",
    "markdown",
    "mean",
    "paired_difference",
    "play",
    "read_results",
    "save_curve",
    "save_results",
    "scan_attackers",
    "std",
    "table",
    "train_attacker",
    "write_report",
]
