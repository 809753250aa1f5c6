"""Cards of this machine through `up`, crashes and `down`, on a made-up machine."""

from pathlib import Path
from typing import Any

import pytest

from cluster_up import cards as present
from cluster_up import docker
from cluster_up import state as states
from cluster_up.actions import host_cards
from cluster_up.actions.step import Run
from cluster_up.cards import Card
from cluster_up.config.types import Config
from cluster_up.errors import StepFailed
from cluster_up.hostcards import moving
from cluster_up.providers.api import NodeView
from cluster_up.state import LentCard, State

ADDRESS = "0000:01:00.0"
PID = {"t-worker": 41, "t-worker2": 42}


class World:
    """One card. ``place``: "" on the machine, else the node that has it."""

    def __init__(self) -> None:
        self.place = ""
        self.pids = dict(PID)
        self.scripts: list[str] = []
        self.refuses = ""

    def shell(self, _image: str) -> moving.Script:
        def run(script: str) -> str:
            if script.startswith("ip -json"):
                return '[{"ifname": "eth0", "addr_info": [{"local": "192.0.2.1", "scope": "global"}]}]'
            self.scripts.append(script)
            if self.refuses and self.refuses in script:
                raise StepFailed("interrupted")
            for node, pid in self.pids.items():
                if script.startswith(f"ip link set dev eth1 netns {pid}\n"):
                    self.place = node
            if script.endswith("ip link set dev eth1 netns 1"):
                self.place = ""
            return ""

        return run

    def present(self) -> tuple[Card, ...]:
        return (Card(ADDRESS, "" if self.place else "eth1", 7, True, functions=3, is_up=True),)

    def inspect(self, _kind: str, name: str) -> dict[str, Any] | None:
        return {"State": {"Pid": self.pids[name]}} if name in self.pids else None

    def here(self, card: LentCard, sysfs: Path = Path()) -> str:
        return "" if self.place else card.name

    def crash(self, node: str) -> None:
        """Its network namespace ends; the kernel brings hardware back."""
        del self.pids[node]
        if self.place == node:
            self.place = ""


class Nodes:
    def __init__(self, world: World) -> None:
        self._world = world

    def nodes(self) -> tuple[NodeView, ...]:
        return (NodeView("t-control-plane", "control-plane", "", True),
                *(NodeView(name, "worker", "", True) for name in PID))

    def run(self, node: str, script: str) -> str:
        assert f"{ADDRESS}/net/eth1" in script
        return "here\n" if self._world.place == node else ""


class Report:
    def detail(self, _line: str) -> None: ...


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(host_cards, "MachineShell", made.shell)
    monkeypatch.setattr(present, "present", made.present)
    monkeypatch.setattr(docker, "inspect", made.inspect)
    monkeypatch.setattr(moving, "here", made.here)
    monkeypatch.setattr(moving, "is_plugged_in", lambda card, sysfs: True)
    return made


def run_of(world: World, setting: str) -> Run:
    known = states.read("t") or State(name="t", node_image="node:1")
    return Run(Config(name="t", cards=setting), known, Nodes(world), Report())  # type: ignore[arg-type]


def up(world: World, setting: str) -> Run:
    run = run_of(world, setting)
    if not host_cards.STEP.is_done(run):
        host_cards.STEP.perform(run)
    assert host_cards.STEP.is_done(run)
    return run


def test_nothing_is_looked_at_where_no_card_is_asked_for(world: World) -> None:
    up(world, "")
    assert (world.scripts, states.read("t")) == ([], None)


def test_a_card_goes_to_a_worker_and_comes_back_as_it_was(world: World) -> None:
    run = up(world, "eth1")
    assert (world.place, run.state.cards) == ("t-worker", (
        LentCard(address=ADDRESS, name="eth1", most=7, functions=3, is_up=True, node="t-worker"),))
    assert len(world.scripts) == 1
    up(world, "eth1")
    assert len(world.scripts) == 1, "nothing to do"
    assert up(world, "").state.cards == ()
    assert world.place == ""
    assert "echo 3 > sriov_numvfs" in world.scripts[-1]


def test_a_node_that_was_started_anew_gets_its_card_again(world: World) -> None:
    up(world, "unused")
    world.place = ""
    assert up(world, "unused").state.cards[0].functions == 3
    assert world.place == "t-worker"


def test_what_was_begun_is_known_when_it_is_interrupted(world: World) -> None:
    """The card has moved, and nobody could say so any more."""
    world.refuses = "netns 41"
    with pytest.raises(StepFailed):
        up(world, "eth1")
    kept = states.read("t")
    assert kept is not None
    assert [card.node for card in kept.cards] == ["t-worker"]
    world.refuses, world.place = "", "t-worker"
    up(world, "eth1")
    assert len(world.scripts) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_down_gives_back_what_nodes_had(world: World, killed: bool) -> None:
    """``down`` has deleted the nodes by then; a crash has, too."""
    run = up(world, "eth1")
    world.crash("t-worker")
    if killed:
        world.crash("t-worker2")
    host_cards.give_back(run.state.cards, world.shell(""), lambda line: None)
    assert world.scripts[-1].endswith("ip link set dev eth1 up")
    assert not any("netns 1" in script.rpartition("\n")[2] for script in world.scripts[1:])


def test_a_card_that_another_cluster_has_is_told(world: World) -> None:
    run = up(world, "eth1")
    world.place = "other-worker"
    with pytest.raises(StepFailed, match=r"eth1 .* is neither on this machine nor on t-worker"):
        host_cards.STEP.perform(run)
