"""Quantities: exact, in both directions, and cheap on hostile input."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt.api import quantity


@pytest.mark.parametrize(("text", "value"), [
    ("0", Fraction(0)), ("1", Fraction(1)), ("+3", Fraction(3)), ("-1Mi", Fraction(-(1 << 20))), (7, Fraction(7)),
    ("100m", Fraction(1, 10)), ("1.5Gi", Fraction(3 << 29)), (".5", Fraction(1, 2)), ("2.", Fraction(2)),
    ("2e3", Fraction(2000)), ("5E-1", Fraction(1, 2)), ("1E", Fraction(10**18)), ("64M", Fraction(64 * 10**6)),
    ("1n", Fraction(1, 10**9)),
])
def test_values(text: str | int, value: Fraction) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 ", "1mi", "1Kib", "--1", "1e", "0x10", "１", "1e3Mi", "9" * 70])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


def test_beyond_the_range_is_cut() -> None:
    assert quantity.parse("1e999999999") == 2**63 - 1
    assert quantity.parse("1e-999999999") == Fraction(1, 10**9)


def test_rounding_is_up() -> None:
    assert quantity.integer("1500m") == 2
    assert quantity.milli("1u") == 1
    assert quantity.integer("-1500m") == -1


@given(st.integers(0, 2**62))
def test_bytes_survive_their_text(count: int) -> None:
    assert quantity.integer(quantity.of_bytes(count)) == count


@given(st.integers(0, 2**50))
def test_thousandths_survive_their_text(count: int) -> None:
    assert quantity.milli(quantity.of_milli(count)) == count


def test_the_shortest_text_is_chosen() -> None:
    assert quantity.of_bytes(64 << 20) == "64Mi"
    assert quantity.of_bytes(1000) == "1000"
    assert quantity.of_milli(2000) == "2"
