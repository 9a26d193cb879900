"""Lets the reference show our docstrings: loaded by mkdocs.yml, not part of the library."""

import re
from typing import Any

import griffe

# Sections of ours that the Google style does not know: a bold word is enough.
OURS = re.compile(r"^(Source|Shapes|Reads|Writes|Reads / Writes): (.*)$")
EQUATION = re.compile(r"^\S+ +(=|<=|>=) \S")


def readable(text: str) -> str:
    """The docstring with examples and equations as code, and with our own sections."""
    return "\n\n".join(_readable_paragraph(paragraph) for paragraph in text.split("\n\n"))


def _readable_paragraph(paragraph: str) -> str:
    lines = paragraph.split("\n")
    if lines[0] == "Example:":
        return "\n".join(["Examples:", *lines[1:]])
    if ours := OURS.match(lines[0]):
        rest = [line.strip() for line in lines[1:]]
        return "\n".join([f"**{ours[1]}:** {ours[2]}", *rest])
    if all(EQUATION.match(line) for line in lines):
        return "\n".join(f"    {line}" for line in lines)
    return paragraph


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)
