"""Imports point down only, and `import advwrap` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import advwrap

ROOT = Path(advwrap.__file__).parent

# From the bottom up. Modules on one line do not import each other.
LAYERS = [
    {"errors"},
    {"randomness", "progress", "past", "provenance"},
    {"clock"},
    {"sets"},
    {"victims"},
    {"bounds"},
    {"objectives"},
    {"attacks"},
    {"modules"},
    {"transforms"},
    {"wrappers"},  # `AdversarialObs` hands TorchRL environments on to its twin
    {"targets"},
    {"losses"},
    {"training"},
    {"algorithms"},
    {"evaluation"},
    {"cli"},
    {"testing"},  # may use everything, and nothing uses it
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = ["tensordict", "torchrl", "pettingzoo", "vmas", "stable_baselines3"]


def layer_of(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").parts[0]


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and layer of every import of ours, anywhere in the file; the package itself is ""."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            # `from advwrap import sets` imports a layer, `from advwrap import PGD` the package.
            whole = node.module == "advwrap"
            names = [f"advwrap.{alias.name}" for alias in node.names] if whole else [node.module or ""]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "advwrap":
                layer = rest.partition(".")[0]
                yield node.lineno, layer if layer in RANK else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    own = layer_of(file)
    if own == "__init__":  # the package re-exports what users type every day
        own, allowed = "advwrap", set(RANK) - {"cli", "testing"}
    else:
        assert own in RANK, f"advwrap/{own} is in no layer. Fix: place it in LAYERS."
        allowed = {module for module in RANK if RANK[module] < RANK[own]} | {own}
    if own in {"cli", "testing"}:
        allowed.add("")
    wrong = [
        f"{file}:{line}: {own} imports {name or 'the package itself'}"
        for line, name in imported(file)
        if name not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_import_stays_light() -> None:
    code = f"import sys, advwrap; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
