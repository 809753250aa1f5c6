"""Addresses with leading zeros, and what is none."""

import pytest

from virt.api.ipaddresses import is_address, plain


@pytest.mark.parametrize(
    ("given", "expected"), [("0127.0.0.3", "127.0.0.3"), ("10.0.100.0", "10.0.100.0"), ("fd00::10", "fd00::10")]
)
def test_leading_zeros_are_decimal(given: str, expected: str) -> None:
    assert plain(given) == expected


@pytest.mark.parametrize(
    ("text", "version", "expected"),
    [("01.1.1.1", 4, True), ("fd00::1", None, True), ("fd00::1", 4, False), ("1.1.1", None, False), ("", None, False)],
)
def test_what_is_an_address(text: str, version: int | None, expected: bool) -> None:
    assert is_address(text, version=version) is expected
