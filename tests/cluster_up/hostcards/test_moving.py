"""Cards on their way: scripts run on a made-up sysfs, with a program ``ip`` that only notes what it is told."""

import os
from pathlib import Path

import pytest

from cluster_up import exec as host
from cluster_up.errors import StepFailed
from cluster_up.hostcards import moving
from cluster_up.state import LentCard

CARD = LentCard(address="0000:01:00.0", name="eth1", most=7, functions=2, is_up=True, node="dev-worker")


class Machine:
    """``called``: the card's name here, "" while somebody else has it."""

    def __init__(self, folder: Path) -> None:
        self.sysfs = folder / "sys"
        self.place = self.sysfs / "bus/pci/devices" / CARD.address
        self.place.mkdir(parents=True)
        self.set("sriov_numvfs", "7")
        self.set("sriov_drivers_autoprobe", "0")
        self._programs = folder / "bin"
        self._programs.mkdir()
        self._notes = folder / "notes"
        self._notes.touch()
        for name in ("ip", "nsenter"):
            program = self._programs / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._notes}\n')
            program.chmod(0o755)

    def set(self, file: str, text: str) -> None:
        (self.place / file).write_text(f"{text}\n")

    def get(self, file: str) -> str:
        return (self.place / file).read_text().strip()

    def called(self, name: str) -> None:
        (self.place / "net" / name).mkdir(parents=True)

    def run(self, script: str) -> str:
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return host.run(["sh", "-eu"], input=script, deadline_s=30, env={"PATH": path}).stdout

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.runs_processes
def test_a_card_goes_and_is_switched_on_there(machine: Machine) -> None:
    moving.lend(CARD, 4711, machine.run)
    assert machine.notes == [
        "ip link set dev eth1 netns 4711", "nsenter -t 4711 -n ip link set dev eth1 up"]


@pytest.mark.runs_processes
def test_a_card_is_fetched_from_a_node_that_runs(machine: Machine) -> None:
    moving.recall(CARD, 4711, machine.run)
    assert machine.notes == ["nsenter -t 4711 -n ip link set dev eth1 netns 1"]


@pytest.mark.runs_processes
def test_a_card_that_is_back_is_what_it_was(machine: Machine) -> None:
    machine.called("eth1")
    moving.settle(CARD, machine.run, machine.sysfs)
    assert (machine.get("sriov_numvfs"), machine.get("sriov_drivers_autoprobe")) == ("2", "1")
    assert machine.notes == ["ip link set dev eth1 up"]


@pytest.mark.runs_processes
def test_a_card_that_came_back_by_another_name_has_its_own_again(machine: Machine) -> None:
    """Its node was killed, and the machine had given the name away."""
    machine.called("dev7")
    moving.settle(CARD, machine.run, machine.sysfs)
    assert machine.notes == [
        "ip link set dev dev7 down", "ip link set dev dev7 name eth1", "ip link set dev eth1 up"]


def test_functions_are_left_alone_where_they_are_as_many() -> None:
    script = moving.restoring(CARD, "eth1")
    assert "[ $(cat sriov_numvfs) = 2 ] ||" in script


def test_a_card_that_does_not_come_back_is_told(machine: Machine) -> None:
    with pytest.raises(StepFailed, match=r"eth1 \(0000:01:00.0\) is not back from dev-worker") as caught:
        moving.settle(CARD, machine.run, machine.sysfs, deadline_s=0)
    assert "/sys/bus/pci/devices/0000:01:00.0/net" in caught.value.hint
    assert machine.notes == []


def test_a_card_that_was_pulled_out_is_forgotten(machine: Machine) -> None:
    moving.settle(LentCard(address="0000:09:00.0", name="eth9", most=7), machine.run, machine.sysfs, deadline_s=0)
    assert machine.notes == []
