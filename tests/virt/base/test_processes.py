"""Kept output and hidden secrets, without a process."""

import pytest

from virt.base.processes import Kept, hidden


@pytest.mark.parametrize("size", [1, 3, 5, 7, 100], ids=lambda size: f"parts of {size}")
def test_a_stream_is_kept_whole_up_to_the_bound_however_it_comes(size: int) -> None:
    stream = b"0123456789"
    kept = Kept(10)
    for start in range(0, len(stream), size):
        kept.add(stream[start:start + size])
    assert kept.text() == "0123456789"


@pytest.mark.parametrize("size", [1, 3, 5, 7, 100], ids=lambda size: f"parts of {size}")
def test_beyond_it_the_middle_is_left_out_and_counted(size: int) -> None:
    stream = b"first" + b"-" * 30 + b"final"
    kept = Kept(10)
    for start in range(0, len(stream), size):
        kept.add(stream[start:start + size])
    assert kept.text() == "first\n[30 bytes left out]\nfinal"


def test_secrets_are_hidden_and_an_empty_one_changes_nothing() -> None:
    assert hidden("key hunter2, again hunter2", ["", "hunter2"]) == "key ***, again ***"
