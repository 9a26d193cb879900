"""The contracts on the pages "add your own" and "test your own" hold for the blocks on these pages."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.test_code_blocks import ROOT, blocks

PAGES = [*sorted((ROOT / "docs" / "add-your-own").glob("*.md")), ROOT / "docs" / "testing.md"]
SETTINGS = """
from hypothesis import settings

settings.register_profile("pages", deadline=None, derandomize=True, max_examples=5)
settings.load_profile("pages")
"""


def test_contracts_of_the_pages(tmp_path: Path) -> None:
    for page in PAGES:
        code = "\n\n".join(block.code for block in blocks(page.read_text(encoding="utf-8")))
        assert "Contract):" in code, f"{page.name} must show the contract of its block."
        (tmp_path / f"test_{page.stem}.py").write_text(code, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(SETTINGS, encoding="utf-8")
    # As a reader would: in a folder of its own, without the configuration of this repository.
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
