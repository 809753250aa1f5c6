"""What a run that is gone has left is removed in order, what lives beside is left alone, what stays is told."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from functests.libs import runs, undo
from functests.libs.nodes import Nodes
from functests.libs.rest import Answer, Rest
from functests.libs.runs import LABEL, Runs
from functests.scheduling import leftovers
from functests.scheduling.leftovers import NAMESPACES, VOLUMES, OfCluster, Sweep, Swept


class FakeWorld:
    """``objects``: name -> run, by kind. ``stubborn``: what cannot be removed."""

    def __init__(self, namespaces: Mapping[str, str], volumes: Mapping[str, str], stubborn: Sequence[str] = ()) -> None:
        self.objects = {NAMESPACES: dict(namespaces), VOLUMES: dict(volumes)}
        self.stubborn = stubborn
        self.did: list[str] = []

    def made(self, kind: str) -> list[Mapping[str, Any]]:
        return [{"name": name, "labels": {LABEL: run} if run else {}} for name, run in self.objects[kind].items()]

    def empty(self, namespace: str) -> None:
        self._act(f"empty {namespace}")
        if f"slow {namespace}" not in self.stubborn:
            del self.objects[NAMESPACES][namespace]

    def delete(self, path: str) -> None:
        self._act(f"delete {path.rpartition('/')[2]}")

    def is_there(self, path: str) -> bool:
        return path.rpartition("/")[2] in self.objects[NAMESPACES]

    def perform(self, step: undo.Step) -> None:
        self._act(str(step))

    def on_every_node(self, script: str) -> None:
        self._act(next(what for what, known in leftovers.NAMELESS.items() if known == script))

    def _act(self, what: str) -> None:
        if what in self.stubborn:
            raise RuntimeError(f"{what} is refused")
        self.did.append(what)


def _killed(known: Runs, *steps: undo.Step) -> str:
    name = known.begin()
    for step in steps:
        undo.noted(step)
    runs._held.pop().close()
    return name


def _swept(world: FakeWorld, known: Runs, *, nameless: bool = False) -> Swept:
    return Sweep(world, known, nameless, gone_s=0.05).all()


MOUNT = undo.Script(node="n1", script="umount", late=True)
CORDON = undo.Request(method="PATCH", path="/api/v1/nodes/n1", body={"spec": {"unschedulable": None}})
OFF = undo.Power(node="n2")


def test_what_hinders_the_product_goes_first_newest_first_and_what_guests_use_last(known: Runs) -> None:
    gone = _killed(known, MOUNT, CORDON, OFF)
    world = FakeWorld({"ft-a": gone}, {"ft-small-1": gone})
    swept = _swept(world, known)
    assert world.did == [str(OFF), str(CORDON), "empty ft-a", str(MOUNT), "delete ft-small-1"]
    (line,) = swept.lines()
    assert "removed in " in line
    assert f"{OFF}, {CORDON}, namespace ft-a, {MOUNT} and 1 more" in line
    assert "pytest" in line, "whose it was"
    assert known.names() == []
    assert list(known.folder.iterdir()) == []


def test_runs_that_live_and_those_of_other_machines_are_left_alone(known: Runs) -> None:
    ended = known.begin()
    known.end(ended)
    alive = known.begin()
    undo.noted(CORDON)
    world = FakeWorld({"ft-a": alive, "ft-b": "0badcafe.1", "ft-c": ended}, {"ft-small-1": alive})
    swept = _swept(world, known, nameless=True)
    assert world.did == ["empty ft-c"], "an ended run has left no file, a live one keeps its notes"
    assert swept.removed == ["namespace ft-c"]
    assert known.names() == [alive]
    assert len(known.notes(alive)) == 1


def test_what_carries_no_name_is_told_and_removed_only_when_asked_for(known: Runs) -> None:
    world = FakeWorld({"ft-old": ""}, {"ft-small-old": ""})
    (line,) = _swept(world, known).lines()
    assert line.startswith("2 namespaces and volumes of tests carry no run's name")
    assert "--unknown" in line
    assert world.did == []
    assert _swept(world, known, nameless=True).nameless == 0
    assert world.did == ["empty ft-old", "delete ft-small-old", *leftovers.NAMELESS]


def test_where_nothing_is_left_nothing_is_said(known: Runs) -> None:
    assert _swept(FakeWorld({}, {}), known).lines() == []


def test_what_cannot_be_removed_is_told_and_tried_again_by_the_next_run(known: Runs) -> None:
    gone = _killed(known, MOUNT, CORDON)
    (known.folder / f"{gone}.9-x.undo").write_text('{"type": "OfAnotherVersion"}')
    world = FakeWorld({"ft-a": gone, "ft-b": gone}, {}, ["slow ft-a", str(CORDON), "empty ft-b"])
    swept = _swept(world, known)
    assert swept.removed == [str(MOUNT)]
    told = "\n".join(swept.stays)
    for word in ("OfAnotherVersion", "by hand", f"{CORDON} is refused", "empty ft-b is refused",
                 "namespace ft-a is still there after 0 s"):
        assert word in told, told
    assert known.names() == [gone]
    assert len(known.notes(gone)) == 2
    world.stubborn = ()
    assert str(CORDON) in _swept(world, known).removed


class FakeServer:
    """Answers with one code, and keeps what it was asked."""

    def __init__(self, code: int) -> None:
        self.code, self.asked = code, list[str]()

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "") -> Answer:
        self.asked.append(f"{method} {path}")
        return Answer(self.code, {}, "said so", {})

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)


def test_on_the_cluster_what_is_gone_already_is_as_good_and_a_refusal_is_not() -> None:
    for code in (200, 404):
        OfCluster(cast("Rest", FakeServer(code)), cast("Nodes", {})).perform(CORDON)
    with pytest.raises(AssertionError, match="403 said so"):
        OfCluster(cast("Rest", FakeServer(403)), cast("Nodes", {})).perform(CORDON)
    server = FakeServer(409)
    OfCluster(cast("Rest", server), cast("Nodes", {})).empty("ft-a")
    assert server.asked[-1] == "DELETE /api/v1/namespaces/ft-a"
    assert len([path for path in server.asked if "/ft-a/" in path]) == 3
