"""Every Python block of README.md and docs/ and every docstring example is executed."""

import doctest
import importlib
import pkgutil
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import advwrap

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    "advwrap",
    *(m.name for m in pkgutil.walk_packages(advwrap.__path__, "advwrap.") if not m.name.endswith(".__main__")),
]
# A fence may be indented (in a tab, say) and may carry options ("title=...") after the language.
FENCE = re.compile(r"^(?P<indent> *)```+ *(?P<language>[\w{}.-]*)")
EXCEPTED = re.compile(r"^ *<!-- not executed: (?P<reason>.*\S.*) -->\s*$")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    line: int
    code: str


def blocks(text: str) -> list[Block]:
    """The Python blocks to execute; one right after `<!-- not executed: reason -->` is left out."""
    found: list[Block] = []
    lines = text.splitlines()
    previous = ""
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        if not fence:
            previous = lines[number] if lines[number].strip() else previous
            number += 1
            continue
        start = number + 1
        end = next((i for i in range(start, len(lines)) if lines[i].strip() in {"```", "````"}), len(lines))
        if fence["language"] in {"python", "py", "python3"} and not EXCEPTED.match(previous):
            found.append(Block(start + 1, textwrap.dedent("\n".join(lines[start:end]))))
        previous, number = "", end + 1
    return found


def run(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    # Empty lines in front, so that a traceback names the line of the page.
    code = "\n" * (block.line - 1) + block.code
    exec(compile(code, str(page), "exec"), namespace)  # noqa: S102  our own pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in blocks(page.read_text(encoding="utf-8")):
            # Readers copy single blocks of the README; the blocks of the other pages continue one another.
            run(block, page, {"__name__": "__main__"} if page.name == "README.md" else namespace)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        result = doctest.testmod(module, optionflags=OPTIONS, verbose=False)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples; see the output"


PAGE = """
Text.

```python title="first"
value = 1
```

<!-- not executed: needs a GPU -->
```python
raise AssertionError
```

=== "Gymnasium"

    ```py
    if value:
        value += 1
    ```

```text
raise AssertionError
```
"""


def test_blocks_of_a_page() -> None:
    found = blocks(PAGE)
    assert [block.line for block in found] == [5, 16]
    namespace: dict[str, Any] = {}
    for block in found:
        run(block, Path("page.md"), namespace)
    assert namespace["value"] == 2


def test_an_exception_needs_a_reason() -> None:
    assert len(blocks("<!-- not executed: -->\n```python\npass\n```")) == 1
    assert len(blocks("<!-- not executed: a reason -->\n\n```python\npass\n```")) == 0
