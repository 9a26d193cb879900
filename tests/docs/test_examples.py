"""Every example runs, with its default arguments where they end soon."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_code_blocks import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
WHOLE = {"valt_from_blocks": 1100, "oa_td3_from_blocks": 1100, "oa_dqn_from_blocks": 550}
"""Whole algorithms, with steps enough for some updates."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example(example: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(example), *(["--steps", str(WHOLE[example.stem])] if example.stem in WHOLE else [])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip(), "an example must show something."


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_is_short(example: Path) -> None:
    lines = example.read_text(encoding="utf-8").splitlines()
    most = 150 if example.stem in WHOLE else 60
    assert len(lines) <= most, f"an example fits on a screen or two, got {len(lines)} lines."
