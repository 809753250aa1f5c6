"""When functions leave a guest and when they come back, without any guest."""

import pytest

from virt.launcher.migration.release import RELEASE_S, Release, pause_s, release, to_give


def test_each_is_asked_for_once() -> None:
    assert release({"a", "b"}, {"b"}, 1.0) == Release(ask=("a",))
    assert release({"a"}, {"a"}, 1.0) == Release()


def test_it_is_done_when_none_is_left_however_late() -> None:
    assert release((), {"a"}, RELEASE_S + 1).is_done


def test_time_is_up_and_libvirts_last_word_is_passed_on() -> None:
    assert release({"a"}, {"a"}, RELEASE_S - 0.1).why == ""
    late = release({"b", "a"}, {"a"}, RELEASE_S, trouble="monitor is busy")
    assert late.ask == ()
    assert late.why == (
        "failed to wait for host-devices detach: the guest has not released a, b within 30 s (monitor is busy)")


@pytest.mark.parametrize("there", [(), ("a",)])
def test_who_gives_up_is_obeyed_before_anything_else(there: tuple[str, ...]) -> None:
    """Also in the moment in which the last one has gone: the copy must not begin."""
    assert release(there, (), 0.0, given_up="aborted") == Release(why="aborted")


def test_one_that_may_still_go_is_not_given_yet() -> None:
    assert to_give({"a", "b"}, {"a"}) == ("b",)
    assert to_give((), {"a"}) == ()


def test_tries_become_rarer() -> None:
    pauses = [pause_s(failures) for failures in range(1, 10)]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]
