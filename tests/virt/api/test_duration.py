"""Durations in Go's grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt.api import duration


@pytest.mark.parametrize(("text", "seconds"), [
    ("0", 0), ("90s", 90), ("1h0m0s", 3600), ("1.5h", 5400), ("300ms", 0.3), ("-1m", -60), (".5s", 0.5), ("2us", 2e-6),
])
def test_values(text: str, seconds: float) -> None:
    assert duration.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1d", "1h 2m", "h1", "1e3s", "--1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(duration.DurationError):
        duration.seconds(text)


@given(st.integers(0, 10**7))
def test_seconds_survive_their_text(seconds: int) -> None:
    assert duration.seconds(duration.text(seconds)) == seconds
