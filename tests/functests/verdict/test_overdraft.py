"""Tests that took more room than they declare."""

from types import SimpleNamespace
from typing import Any

from functests.verdict.overdraft import DECLARED, NAMESPACE, overdrafts, peak
from functests.verdict.records import Guest


def guest(begins: float, ends: float, *, node: str = "n1", vcpus: int = 1, namespace: str = "ft-a") -> Guest:
    return Guest(name="vm", namespace=namespace, node=node, vcpus=vcpus, created=begins, last_seen=ends)


def reports(*properties: tuple[str, Any]) -> list[Any]:
    return [SimpleNamespace(user_properties=[each]) for each in properties]


def test_guests_one_after_the_other_are_one() -> None:
    assert peak([guest(0, 10), guest(10, 20), guest(21, 30)]) == 1


def test_guests_side_by_side_add_up_once_they_have_a_node() -> None:
    assert peak([guest(0, 10), guest(5, 20, vcpus=2), guest(6, 7, node="")]) == 3


def test_more_than_declared_is_told() -> None:
    many = [guest(0, 10), guest(1, 10), guest(2, 10, namespace="ft-b"), guest(3, 10, namespace="ft-b")]
    told = overdrafts({
        "one": reports((NAMESPACE, "ft-a"), (DECLARED, 1)),
        "enough": reports((NAMESPACE, "ft-b"), (DECLARED, 2)),
        "without": reports((DECLARED, 0)),
    }, many)
    assert told == ["one had 2 vCPUs of guests at once and declares 1"]


def test_one_that_has_the_cluster_for_itself_may_take_what_it_likes() -> None:
    assert overdrafts({"alone": reports((NAMESPACE, "ft-a"))}, [guest(0, 10), guest(1, 10)]) == []
