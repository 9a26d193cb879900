"""A training as JSON and back: what stands in an agent's file is enough to train it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from advwrap.algorithms.action_robust import ActionRobustTD3
from advwrap.algorithms.alternating import Alternating
from advwrap.algorithms.attack_training import TrainingAttack
from advwrap.algorithms.defence import Undefended
from advwrap.algorithms.description import described
from advwrap.algorithms.discrete_sac import DiscreteSAC
from advwrap.algorithms.oa_ppo import RobustAdvantage
from advwrap.algorithms.oapi import OAPI
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.algorithms.ppo import PPO
from advwrap.algorithms.robust_regulariser import RobustRegulariser
from advwrap.algorithms.sac import SAC
from advwrap.algorithms.td3 import TD3
from advwrap.algorithms.valt_eps import ValtEps
from advwrap.algorithms.valt_sampled import ValtSampled
from advwrap.algorithms.valt_soft import ValtSoft
from advwrap.algorithms.wocar import Wocar
from advwrap.attacks import Corners, CrossEntropyMethod, RandomSearch, Square
from advwrap.errors import check
from advwrap.training import Normaliser, Running
from advwrap.wrappers import PAAD, SARL

LEARNERS = (SAC, TD3, DiscreteSAC, ActionRobustTD3, PPO)
PARTS = (
    Undefended, TrainingAttack, RobustRegulariser, Wocar, ValtEps, ValtSoft, ValtSampled, Alternating, OAPI,
    RobustAdvantage, Running, Normaliser, SARL, PAAD, Corners, CrossEntropyMethod, RandomSearch, Square,
)  # fmt: skip
Training = OffPolicy | PPO
KNOWN: Mapping[str, type] = {kind.__name__: kind for kind in (*LEARNERS, *PARTS)}


def to_json(config: Training) -> str:
    """The training as JSON.

    Example:
        >>> from advwrap.algorithms import SAC, ValtEps
        >>> config = SAC("Pendulum-v1", ValtEps(0.1), steps=2_000)
        >>> from_json(to_json(config)) == config
        True
    """
    return json.dumps(described(config), indent=1)


def from_json(text: str) -> Training:
    """The training that `to_json` wrote, or that stands in an ``agent.json``.

    Raises:
        ValueError: If it is no training of ours, or a number is out of range.
    """
    found = json.loads(text)
    config = _object(found.get("config", found) if isinstance(found, dict) else found)
    names = ", ".join(kind.__name__ for kind in LEARNERS)
    check(isinstance(config, LEARNERS), f"`text` must describe a training with {names}, got {type(config).__name__}.")
    return config  # type: ignore[no-any-return]


def with_options(config: Training, options: Sequence[str]) -> Training:
    """The same training with other numbers.

    Args:
        config: The training.
        options: ``NAME=VALUE`` of its fields, ``defence.NAME=VALUE`` of its defence's (``advantage.NAME``, of PPO); a
            value as in JSON.

    Raises:
        ValueError: If there is no such field, or its value is out of range.

    Example:
        >>> from advwrap.algorithms import SAC, ValtSoft
        >>> config = SAC("Ant-v5", ValtSoft(0.15, temperature=8.0))
        >>> with_options(config, ["steps=5000", "defence.temperature=[1000, 4]"]).defence.temperature
        (1000, 4)
    """
    made = described(config)
    for option in options:
        path, found, value = option.partition("=")
        check(bool(found), f"`set` must be NAME=VALUE, got {option!r}.")
        *parts, name = path.split(".")
        part = made
        for step in parts:
            part = part.get(step) if isinstance(part, dict) else None
        check(
            isinstance(part, dict) and name in part and name != "type",
            f"`set` must name a field of the training, got {path!r}.",
            fix=f"{', '.join(get_close_matches(path, list(_fields(made))) or _fields(made))}.",
        )
        part[name] = _read(value)
    return from_json(json.dumps(made))


def _fields(made: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in made.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{before}{name}.")
        elif name != "type":
            yield before + name


def _read(value: str) -> Any:
    """As JSON has it; a word is itself."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _object(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_object, value))
    if not isinstance(value, dict):
        return value
    check(
        "function" not in value,
        f"`text` must describe all of a training, but {value.get('function')} is a function of its author's.",
        fix="make the configuration in Python.",
    )
    arguments = dict(value)
    name = arguments.pop("type", None)
    check(name in KNOWN, f"`type` must be one of {', '.join(KNOWN)}, got {name!r}.")
    kind = KNOWN[name]
    assert is_dataclass(kind)  # noqa: S101 - all known kinds are
    unknown = sorted(arguments.keys() - {field.name for field in fields(kind)})
    check(not unknown, f"`{name}` has no {', '.join(unknown)}.", fix="the version of advwrap that wrote it.")
    if kind is Normaliser:
        return Normaliser(**{name: np.array(numbers) for name, numbers in arguments.items()})
    return kind(**{key: _object(item) for key, item in arguments.items()})
