"""Run a rule of a contract on a broken block, quickly: without shrinking what it finds."""

from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

once = settings(
    phases=[Phase.generate],
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def broken(contract: object, rule: str, *arguments: object) -> None:
    """Assert that the rule fails."""
    method = getattr(contract, rule)
    drawn = getattr(method, "hypothesis", None)
    check = method if drawn is None else partial(once(given(data=st.data())(drawn.inner_test)), contract)
    # What a rule expects but never gets (`pytest.raises`) fails it as well.
    with pytest.raises((AssertionError, UserWarning, pytest.fail.Exception)):
        check(*arguments)
