"""Results as a JSON file: plain numbers and names, read without executing anything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from advwrap.evaluation.results import Cell, Results
from advwrap.provenance import Provenance

FORMAT = "advwrap-results"
SCHEMA = 1
"""Raised when a field changes its meaning or disappears; new optional fields do not raise it."""

T = TypeVar("T")


class ResultsFileError(ValueError):
    """A file without results, or with damaged ones; the message names the file and the field."""


def save_results(results: Results, path: str | os.PathLike[str]) -> Path:
    """Write the results as JSON; an existing file is replaced in one move, never half-written.

    Example:
        >>> import tempfile
        >>> cell = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_results(Results((cell,), Provenance("Pendulum-v1")), f"{folder}/results.json")
        ...     json.loads(path.read_text())["cells"][0]["returns"]
        [9.0, 11.0]
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "provenance": asdict(results.provenance),
        "cells": [asdict(cell) for cell in results.cells],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return unfinished.replace(path)


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read what `save_results` wrote.

    Args:
        path: The JSON file, or the folder of a report that holds ``results.json``.

    Raises:
        FileNotFoundError: If there is no such file.
        ResultsFileError: If the file is not JSON, holds something else, was written by a newer
            version, or is damaged.

    Example:
        >>> import tempfile
        >>> cell = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
        >>> results = Results((cell,), Provenance("Pendulum-v1"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_results(save_results(results, f"{folder}/results.json")) == results
        True
    """
    path = Path(path)
    if path.is_dir():
        path = path / "results.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ResultsFileError(f"`{path}` is not a JSON file: {error}.") from error
    try:
        return _results(_Fields(content, "file"))
    except ValueError as error:
        raise ResultsFileError(f"`{path}` cannot be read: {error}") from error


class _Fields:
    """A JSON object of which fields are taken by name and type."""

    def __init__(self, content: object, name: str) -> None:
        if not isinstance(content, Mapping):
            raise ResultsFileError(f"{name} must be a JSON object, got {type(content).__name__}.")
        self.content = content
        self.name = name

    def take(self, field: str, decode: Callable[[Any], T]) -> T:
        if field not in self.content:
            raise ValueError(f"{self.name} must have the field `{field}`, got {sorted(map(str, self.content))}.")
        try:
            return decode(self.content[field])
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"`{field}` of {self.name} is damaged: {error}") from error


def _results(file: _Fields) -> Results:
    if file.content.get("format") != FORMAT:
        raise ValueError(f"`format` must be {FORMAT!r}, got {file.content.get('format')!r}.")
    schema = file.take("schema", _integer)
    if not 1 <= schema <= SCHEMA:
        raise ValueError(f"`schema` must be at most {SCHEMA}, got {schema}. Fix: update advwrap.")
    provenance = _provenance(_Fields(file.take("provenance", _plain), "provenance"))
    cells = file.take("cells", _tuple_of(_plain))
    return Results(tuple(_cell(_Fields(cell, f"cell {i}")) for i, cell in enumerate(cells)), provenance)


def _provenance(record: _Fields) -> Provenance:
    return Provenance(
        env=record.take("env", _text),
        seed=record.take("seed", _integer),
        command=record.take("command", _text),
        commit=record.take("commit", _or_none(_text)),
        versions=record.take("versions", _texts),
    )


def _cell(record: _Fields) -> Cell:
    return Cell(
        agent=record.take("agent", _text),
        attack=record.take("attack", _text),
        epsilon=record.take("epsilon", _number),
        seeds=record.take("seeds", _tuple_of(_integer)),
        returns=record.take("returns", _tuple_of(_number)),
        lengths=record.take("lengths", _tuple_of(_integer)),
        sizes=record.take("sizes", _tuple_of(_number)),
        costs=record.take("costs", _or_none(_tuple_of(_number))),
    )


def _plain(value: object) -> object:
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a text, got {value!r}.")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"must be an object, got {value!r}.")
    return {name: _text(text) for name, text in value.items()}


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"must be an integer, got {value!r}.")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"must be a number, got {value!r}.")
    return float(value)


def _tuple_of(decode: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def decode_all(values: object) -> tuple[T, ...]:
        if not isinstance(values, list):
            raise TypeError(f"must be a list, got {values!r}.")
        return tuple(decode(value) for value in values)

    return decode_all


def _or_none(decode: Callable[[object], T]) -> Callable[[object], T | None]:
    return lambda value: None if value is None else decode(value)


def _no_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)
