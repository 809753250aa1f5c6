"""Setting conditions: times move with the status, and nothing moves without a change."""

from virt.api import conditions, core, v1

READY = v1.Condition(type="Ready", status="False", reason="PodNotExists")


def test_a_new_condition_gets_the_time() -> None:
    (ready,) = conditions.with_condition((), READY, "t1")
    assert ready.last_transition_time == "t1"


def test_setting_the_same_again_changes_nothing() -> None:
    once = conditions.with_condition((), READY, "t1")
    assert conditions.with_condition(once, READY, "t2") == once


def test_another_reason_keeps_the_time() -> None:
    once = conditions.with_condition((), READY, "t1")
    other = v1.Condition(type="Ready", status="False", reason="GuestNotRunning")
    (ready,) = conditions.with_condition(once, other, "t2")
    assert (ready.reason, ready.last_transition_time) == ("GuestNotRunning", "t1")


def test_another_status_takes_the_time_and_the_same_place() -> None:
    paused = v1.Condition(type="Paused", status="True")
    before = conditions.with_condition(conditions.with_condition((), READY, "t1"), paused, "t1")
    after = conditions.with_condition(before, v1.Condition(type="Ready", status="True"), "t2")
    assert [condition.type for condition in after] == ["Ready", "Paused"]
    assert [condition.last_transition_time for condition in after] == ["t2", "t1"]


def test_absent_and_false_are_not_true() -> None:
    assert not conditions.is_true((), "Ready")
    assert not conditions.is_true((READY,), "Ready")
    assert conditions.is_true((v1.Condition(type="Ready", status="True"),), "Ready")


def test_removing_leaves_the_others() -> None:
    others = (core.Condition(type="A"), core.Condition(type="B"))
    assert conditions.without(others, "A") == (core.Condition(type="B"),)
