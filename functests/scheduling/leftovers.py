"""What runs left that are gone, killed by a limit of time or with their machine: found and removed.

Their guests take the processors that the nodes give away, their settings and cordons take the cluster from everybody. A
run looks once before its first test (opening.py); by hand:

    python -m functests.scheduling.leftovers              # also: make functest-clean
    python -m functests.scheduling.leftovers --unknown    # also what tests made that carries no run's name

A run that still lives is left alone (functests.libs.runs).
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from functests.libs import cluster as clusters
from functests.libs import placement, runs, settings, undo, volumes
from functests.libs.nodes import Nodes
from functests.libs.rest import VM, VMI, Rest, core_path, kubevirt_path
from functests.libs.runs import LABEL, OF_TESTS, Runs
from virt.base import waiting

GONE_S = 180.0              # guests were cut off in whatever they did; a minute is usual
SHOWN = 4
NAMESPACES, VOLUMES = "/api/v1/namespaces", "/api/v1/persistentvolumes"
# Folders of volumes, and networks, which are called so (functests.libs.segments).
NAMELESS = {
    "folders of volumes": f"for p in {volumes.ROOT}/*; do ! mountpoint -q $p || umount -l $p; rm -rf $p; done",
    "networks": "for b in $(ls /sys/class/net | grep -xE 'ft[0-9a-f]{6}'); do segment remove $b $((0x${b#ft})); done",
}


class World(Protocol):
    """The cluster. Errors pass through: what raises is told as what stays."""

    def made(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """Metadata of what tests made: ``kind`` is the path of namespaces or volumes."""

    def empty(self, namespace: str) -> None:
        """It goes, and what runs in it."""

    def delete(self, path: str) -> None: ...

    def is_there(self, path: str) -> bool: ...

    def perform(self, step: undo.Step) -> None: ...

    def on_every_node(self, script: str) -> None: ...


@dataclass
class Swept:
    """``of``: the runs, ``removed`` and ``stays`` are in words; ``nameless`` counts what carries no run's name."""

    of: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    nameless: int = 0
    seconds: float = 0.0

    def lines(self) -> list[str]:
        said = []
        if self.removed:
            more = f" and {len(self.removed) - SHOWN} more" if len(self.removed) > SHOWN else ""
            which = f" ({'; '.join(self.of)})" if self.of else ""
            what = f"{', '.join(self.removed[:SHOWN])}{more}"
            said.append(f"removed in {self.seconds:.1f} s what runs that are gone had left: {what}{which}")
        if self.stays:
            said.append(f"left by runs that are gone, and cannot be removed: {'; '.join(self.stays)}")
        if self.nameless:
            said.append(f"{self.nameless} namespaces and volumes of tests carry no run's name and were left alone: "
                        "`python -m functests.scheduling.leftovers --unknown` removes them")  # fmt: skip
        return said


@dataclass
class Sweep:
    """One look, and the removal. ``nameless``: also what carries no run's name; ``gone_s``: how long guests may end."""

    world: World
    known: Runs
    nameless: bool = False
    gone_s: float = GONE_S
    told: Swept = field(default_factory=Swept)

    def all(self) -> Swept:
        """First what hinders the product, then guests with their namespaces, then what these had in use."""
        began = time.monotonic()
        with ExitStack() as claims:
            names = self.known.names()
            gone = [name for name in names if claims.enter_context(self.known.claimed(name))]
            alive = set(names) - set(gone)
            self.told.of = [str(about) for name in gone if (about := self.known.about(name)) is not None]
            steps = list(self._read(file for name in gone for file in self.known.notes(name)))
            self._undo((file, step) for file, step in steps if not is_late(step))
            self._empty(self._of_gone(NAMESPACES, alive))
            self._undo((file, step) for file, step in steps if is_late(step))
            for name in self._of_gone(VOLUMES, alive):
                self._tried(f"volume {name}", partial(self.world.delete, f"{VOLUMES}/{name}"))
            if self.nameless and not alive:         # those of a run that lives look the same
                for what, script in NAMELESS.items():
                    self._tried(f"{what} on nodes", partial(self.world.on_every_node, script))
            for name in gone:
                if not self.known.notes(name):
                    self.known.file(name).unlink(missing_ok=True)
        self.told.seconds = time.monotonic() - began
        return self.told

    def _of_gone(self, kind: str, alive: set[str]) -> list[str]:
        """Names of those that a run made that is gone."""
        found = []
        for metadata in self.world.made(kind):
            run = (metadata.get("labels") or {}).get(LABEL, "")
            if (self.known.is_of_here(run) and run not in alive) or (not run and self.nameless):
                found.append(str(metadata["name"]))
            self.told.nameless += not run and not self.nameless
        return found

    def _empty(self, names: Sequence[str]) -> None:
        begun = [name for name in names if self._tried(None, partial(self.world.empty, name), f"namespace {name}")]

        def left() -> list[str]:
            return [name for name in begun if self.world.is_there(f"{NAMESPACES}/{name}")]

        stays: list[str] = []
        try:
            waiting.wait_for(left, lambda there: not there, deadline_s=self.gone_s, every_s=1.0)
        except waiting.WaitTimeout:
            stays = left()
        self.told.removed += [f"namespace {name}" for name in begun if name not in stays]
        self.told.stays += [f"namespace {name} is still there after {self.gone_s:.0f} s" for name in stays]

    def _read(self, files: Iterable[Path]) -> Iterable[tuple[Path, undo.Step]]:
        for file in files:
            try:
                yield file, undo.read(file)
            except (OSError, ValueError) as error:
                self.told.stays.append(f"what {file} says ({error}): undo it by hand, and delete the file")

    def _undo(self, steps: Iterable[tuple[Path, undo.Step]]) -> None:
        for file, step in steps:
            if self._tried(str(step), partial(self.world.perform, step), f"{step} ({file})"):
                file.unlink(missing_ok=True)

    def _tried(self, done: str | None, act: Callable[[], None], failed: str = "") -> bool:
        """``done`` is what was removed when ``act`` succeeds."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - one that cannot be removed must not save the others
            self.told.stays.append(f"{failed or done}: {type(error).__name__}: {str(error)[:300]}")
            return False
        self.told.removed += [done] if done else []
        return True


def is_late(step: undo.Step) -> bool:
    return isinstance(step, undo.Script) and step.late


class OfCluster:
    """The cluster under test."""

    def __init__(self, rest: Rest, nodes: Nodes) -> None:
        self._rest, self._nodes = rest, nodes

    def made(self, kind: str) -> Sequence[Mapping[str, Any]]:
        items = self._rest.get(f"{kind}?labelSelector={OF_TESTS}%3Dtrue").ok()["items"]
        return [item["metadata"] for item in items]

    def empty(self, namespace: str) -> None:
        """Kubernetes begins to empty a namespace only some seconds later; its guests are told now."""
        for collection in (kubevirt_path(VM, namespace), kubevirt_path(VMI, namespace), core_path("pods", namespace)):
            self.delete(collection)
        self.delete(f"{NAMESPACES}/{namespace}")

    def delete(self, path: str) -> None:
        """409: it is being deleted already."""
        answer = self._rest.delete(path)
        assert answer.code < 300 or answer.code in (404, 409), f"{answer.code} {answer.text[:200]}"

    def is_there(self, path: str) -> bool:
        return self._rest.get(path).code != 404

    def perform(self, step: undo.Step) -> None:
        match step:
            case undo.Script(node=name, script=script):
                self._nodes[name].run(script)
            case undo.Power(node=name):
                self._nodes[name].switch_on()
            case undo.Taint(node=name, key=key, effect=effect):
                placement.untaint(self._rest, name, key, effect)
            case undo.Settings(spec=spec):
                settings.put_back(self._rest, spec)
            case undo.Request(method=method, path=path, body=body, content_type=kind):
                answer = self._rest.request(method, path, body, content_type=kind)
                assert answer.code < 300 or answer.code == 404, f"{answer.code} {answer.text[:200]}"

    def on_every_node(self, script: str) -> None:
        for node in self._nodes:
            node.run(script)


def of_cluster(*, nameless: bool = False) -> Swept:
    """All of it, on the cluster under test, however well that is. Raises what tests would raise without a cluster."""
    cluster = clusters.load(well=False)
    return Sweep(OfCluster(Rest(cluster.api), Nodes(cluster)), runs.of_cluster(cluster.name), nameless).all()


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m functests.scheduling.leftovers", description="Remove what functional runs that are gone left.")
    parser.add_argument("--unknown", action="store_true", help="also what tests made that carries no run's name")
    swept = of_cluster(nameless=parser.parse_args(argv).unknown)
    print("\n".join(swept.lines() or ["nothing of runs that are gone was found"]))
    return 1 if swept.stays else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
