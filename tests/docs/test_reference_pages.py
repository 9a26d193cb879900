"""A layer that nobody can look up does not exist."""

from pathlib import Path

import pytest

import advwrap

ROOT = Path(__file__).parents[2]
LAYERS = sorted(file.parent.name for file in Path(advwrap.__file__).parent.glob("*/__init__.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_has_a_page(layer: str) -> None:
    page = ROOT / "docs" / "api" / f"{layer}.md"
    assert f"::: advwrap.{layer}\n" in page.read_text(encoding="utf-8")
    assert f"api/{layer}.md\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
