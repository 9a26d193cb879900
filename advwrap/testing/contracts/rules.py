"""What the contracts share: how a rule is stated, and how two tensors or modules are compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

Test = Callable[..., None]


def rule(test: Test) -> Test:
    """A test method that gets one `hypothesis.strategies.data()` object as its argument.

    The number of examples and the rest come from the profile that is loaded; a method that several
    contracts inherit is run by each of them, which Hypothesis would otherwise report.
    """
    checks = [HealthCheck.differing_executors, HealthCheck.too_slow]
    return settings(suppress_health_check=checks)(given(data=st.data())(test))


seeds = pytest.mark.parametrize("seed", [0, 12345])
"""For rules on environments, where more examples cost seconds and find nothing new."""


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit: -0.0 is not 0.0, and NaN is NaN.

    Example:
        >>> same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
        False
    """
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    raw = [x.detach().contiguous().reshape(-1).view(torch.uint8) for x in (a, b)]
    return torch.equal(*raw)


def snapshot(modules: Sequence[nn.Module]) -> list[Any]:
    """Everything that an attack must leave alone in its victim, copied."""
    state: list[Any] = []
    for module in modules:
        state += [(name, m.training) for name, m in module.named_modules()]
        for name, p in module.named_parameters():
            grad = None if p.grad is None else p.grad.clone()
            state.append((name, p.requires_grad, p.detach().clone(), grad))
        state += [(name, b.clone()) for name, b in module.named_buffers()]
    return state


def assert_untouched(modules: Sequence[nn.Module], before: list[Any]) -> None:
    """Compare the victim with a `snapshot` of it."""
    for was, now in zip(before, snapshot(modules), strict=True):
        name = was[0]
        for old, new in zip(was[1:], now[1:], strict=True):
            same = same_bits(old, new) if isinstance(old, Tensor) and new is not None else old == new
            assert same, f"the victim must be bitwise as before: {name!r} changed from {old} to {new}."


@contextmanager
def global_randomness_untouched() -> Iterator[None]:
    """Fail if the block advances the global generator of torch, NumPy or `random`."""
    before = (torch.get_rng_state(), np.random.get_state(), random.getstate())  # noqa: NPY002
    yield
    after = (torch.get_rng_state(), np.random.get_state(), random.getstate())  # noqa: NPY002
    assert torch.equal(before[0], after[0]), "torch's global generator must not be advanced."
    for a, b in zip(before[1], after[1], strict=True):
        assert np.array_equal(a, b), "NumPy's global generator must not be advanced."
    assert before[2] == after[2], "the generator of `random` must not be advanced."
