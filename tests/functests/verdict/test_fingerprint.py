"""The same failure has one fingerprint, another failure another."""

import pytest

from functests.verdict.fingerprint import fingerprint, headline, normalized

ERROR = """
    def test_x(space):
>       assert code == 202, answer
E       AssertionError: VMI ft-a-vm-0a1b2c/vm on 10.244.1.17: 409 after 12.5 s
E       assert 409 == 202

functests/x.py:12: AssertionError
"""
AGAIN = ERROR.replace("0a1b2c", "99ffee").replace("10.244.1.17", "10.244.2.3").replace("12.5", "40.25")
AGAIN = AGAIN.replace("x.py:12:", "x.py:90:")


def test_names_times_and_places_of_a_run_do_not_count() -> None:
    assert fingerprint("a::b", ERROR) == fingerprint("a::b", AGAIN)


def test_parameters_of_a_test_do_not_count_and_its_function_does() -> None:
    assert fingerprint("a::b[x]", ERROR) == fingerprint("a::b[y]", ERROR)
    assert fingerprint("a::b", ERROR) != fingerprint("a::c", ERROR)


def test_another_error_is_another_fingerprint() -> None:
    assert fingerprint("a::b", ERROR) != fingerprint("a::b", ERROR.replace("AssertionError: VMI", "AssertionError: VM"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E   pod virt-launcher-vm-x7k2p is gone", "pod virt-launcher-vm-<pod> is gone"),
        ("E   uid 11111111-aaaa-4bbb-8ccc-000000000001", "uid <uid>"),
        ("E   mac 02:42:ac:15:00:03", "mac <mac>"),
        ("E   at 2026-11-27T06:58:00.123Z", "at <time>"),
        ("E   virtualmachineinstances stay", "virtualmachineinstances stay"),
    ],
)
def test_what_changes_is_taken_out(text: str, expected: str) -> None:
    assert normalized(text) == expected


def test_the_headline_is_the_first_marked_line_or_the_last_line() -> None:
    assert headline(ERROR).startswith("AssertionError: VMI")
    assert headline("worker 'gw0' crashed while running 'x'\n") == "worker 'gw0' crashed while running 'x'"
    assert headline("") == ""
