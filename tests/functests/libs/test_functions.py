"""What a node says of its cards' functions, and a guest of its pings."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from functests.libs import functions, runs, undo
from functests.libs.console import Console, Result
from functests.libs.functions import Function, Place
from functests.libs.nodes import Node


class Said:
    """A node or a console that has one answer."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, script: str, *, within_s: float = 0) -> Any:
        return Result(0, self._text) if within_s else self._text


class Shown(Said):
    def succeed(self, command: str, *, within_s: float) -> str:
        return self._text


def node(text: str) -> Node:
    return cast("Node", Said(text))


def test_functions_as_a_card_tells_them() -> None:
    listed = [
        {"vf": 0, "address": "00:00:00:00:00:00", "vlan_list": [{}], "spoofchk": True, "trust": False},
        {"vf": 1, "address": "de:ad:00:00:be:ef", "vlan_list": [{"vlan": 100}], "spoofchk": False, "trust": True},
    ]
    found = functions.functions(node(json.dumps([{"ifname": "pf1", "vfinfo_list": listed}])), "pf1")
    assert found == [
        Function(0, "00:00:00:00:00:00", 0, True, False), Function(1, "de:ad:00:00:be:ef", 100, False, True)]
    assert [each.is_neutral for each in found] == [True, False]
    assert functions.functions(node('[{"ifname": "pf1"}]'), "pf1") == []


def test_places_of_functions() -> None:
    assert functions.places(node("0000:01:10.0 vfio-pci 12 1\n0000:01:10.2 igbvf 13 2\n"), "pf1") == [
        Place("0000:01:10.0", "vfio-pci", "12", 1), Place("0000:01:10.2", "igbvf", "13", 2)]


@pytest.mark.parametrize(("text", "count"), [
    ("5 packets transmitted, 5 packets received, 0% packet loss\n", 5),
    ("5 packets transmitted, 0 packets received, 100% packet loss\n", 0),
])  # fmt: skip
def test_pings_are_counted(text: str, count: int) -> None:
    assert functions.answered(cast("Console", Said(f"PING 192.0.2.1\n{text}")), "192.0.2.1") == count


def test_pci_ids_of_a_guest() -> None:
    assert functions.pci_ids(cast("Console", Shown("808629c0\n808610ca"))) == ["8086:29c0", "8086:10ca"]


def test_a_ping_that_says_nothing_is_no_answer() -> None:
    with pytest.raises(AssertionError, match="ping said"):
        functions.answered(cast("Console", Said("ping: bad address")), "x")


@pytest.mark.parametrize(("text", "mac"), [
    ('[{"dst": "192.0.2.2", "lladdr": "de:ad:00:00:be:ef"}]', "de:ad:00:00:be:ef"), ("[]", ""), ("", ""),
    ('[{"dst": "192.0.2.2", "state": ["FAILED"]}]', ""),
])  # fmt: skip
def test_the_peers_neighbour(text: str, mac: str) -> None:
    assert functions.neighbour(node(text), "pf2", "192.0.2.2") == mac


class Recorded:
    """A node that keeps what it was told to do."""

    name = "m"

    def __init__(self) -> None:
        self.told: list[str] = []

    def run(self, script: str) -> str:
        self.told.append(script)
        return ""


def test_an_address_of_a_card_is_written_down_while_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the next run takes it away where this one is killed."""
    monkeypatch.setattr(runs, "file", lambda: tmp_path / "run")
    machine = Recorded()
    with functions.peer(cast("Node", machine), "pf2", "192.0.2.9"):
        (note,) = tmp_path.glob("*.undo")
        step = undo.read(note)
        assert machine.told == ["ip addr add 192.0.2.9/24 dev pf2"]
    assert isinstance(step, undo.Script)
    assert (step.node, machine.told[1:]) == ("m", [step.script])
    assert step.script.startswith("{ ip addr del 192.0.2.9/24 dev pf2;")
    assert list(tmp_path.iterdir()) == []
