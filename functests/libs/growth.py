"""Guests that get processors while they run: how that is asked for, and what must hold when it is over."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from functests.libs import moves, patience
from functests.libs.console import Console
from functests.libs.kube import Object, Space, condition
from functests.libs.moves import Home
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.watch import Watch
from virt.api import quantity

CPUS = "HotVCPUChange"
ANNOTATION = "kubevirt.io/workloadUpdateMigration"
PREFIX = "kubevirt-workload-update-"
OUTDATED = "kubevirt.io/outdatedLauncherImage"         # a label of VMIs


def ask(space: Space, domain: Mapping[str, Any], name: str = "vm") -> None:
    """Change the template's domain by a merge patch."""
    space.patch_vm(name, {"spec": {"template": {"spec": {"domain": domain}}}}).ok()


def migrations(space: Space) -> list[Object]:
    """Those that nobody asked for by hand, oldest first."""
    found = [each for each in moves.migrations(space) if ANNOTATION in each["metadata"].get("annotations", {})]
    return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))


def names(found: Collection[Object]) -> list[str]:
    return [str(each["metadata"]["name"]) for each in found]


def grow(
    space: Space, nodes: Nodes, before: Home, domain: Mapping[str, Any], kind: str, *, within_s: float | None = None
) -> Home:
    """Ask for ``domain``, and wait until one migration has brought the guest there; its new home. ``kind``: the
    condition that is there meanwhile."""
    known = names(migrations(space))
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        ask(space, domain)
        made = patience.eventually(
            "a migration is made by itself",
            lambda: [name for name in names(migrations(space)) if name not in known], bool)
        moves.reach(space, made[0], "Succeeded", within_s=within_s or patience.boots(4))
        space.wait_condition("vm", kind, "")
        seen = [condition(vmi, kind).get("status") for _, vmi in watch.seen("vm")]
    assert "True" in seen, f"{kind} was never seen: {seen}"
    assert made[0].startswith(PREFIX), made
    after = moves.check_moved(space, nodes, "vm", before, made[0])
    assert names(migrations(space)) == [*known, made[0]]
    vm = space.wait_vm("vm", lambda vm: condition(vm, kind) == {}, f"{kind} is gone from the VM too")
    assert condition(vm, "RestartRequired") == {}, vm["status"]["conditions"]
    return after


def refused(space: Space, domain: Mapping[str, Any], name: str = "vm") -> str:
    """Ask for what takes a restart: what people are told. Nobody moves the guest for it."""
    ask(space, domain, name)
    vm = space.wait_vm(
        name, lambda vm: condition(vm, "RestartRequired").get("status") == "True", "says that it takes a restart")
    vmi = space.vmi(name)
    assert [condition(vmi, kind) for kind in (CPUS, "HotMemoryChange")] == [{}, {}], vmi["status"]["conditions"]
    return str(condition(vm, "RestartRequired")["message"])


def taken_back(space: Space, domain: Mapping[str, Any], name: str = "vm") -> None:
    """Ask for what the guest has: nothing is to be said any more."""
    ask(space, domain, name)
    space.wait_vm(name, lambda vm: condition(vm, "RestartRequired") == {}, "needs no restart any more")


def requests(space: Space, pod: str) -> Mapping[str, int]:
    """What ``compute`` of the pod asks for: "cpu" in thousandths, "memory" in bytes."""
    spec = space.rest.get(core_path("pods", space.name, pod)).ok()["spec"]
    (found,) = [each["resources"]["requests"] for each in spec["containers"] if each["name"] == "compute"]
    return {"cpu": quantity.milli(found["cpu"]), "memory": quantity.integer(found["memory"])}


def processors(shell: Console) -> tuple[int, int]:
    """How many the guest has been given, and on how many its programs run."""
    present = shell.succeed("cat /sys/devices/system/cpu/present")
    last = re.fullmatch(r"0(?:-(\d+))?", present)
    assert last, f"the processors that are present: {present}"
    return int(last[1] or 0) + 1, int(shell.succeed("grep -c ^processor /proc/cpuinfo"))


def bring_online(shell: Console) -> None:
    """All that were plugged: Linux leaves that to a rule of udev, which this guest has not."""
    shell.succeed(
        "for f in /sys/devices/system/cpu/cpu[1-9]*/online; do [ \"$(cat $f)\" = 1 ] || echo 1 > $f; done")


def busy_ticks(shell: Console, programs: int) -> list[int]:
    """How much time each processor spent while so many programs counted, in hundredths of a second."""
    def ticks() -> list[int]:
        lines = re.findall(r"^cpu\d+ (\d+)", shell.succeed("cat /proc/stat"), re.MULTILINE)
        return [int(line) for line in lines]

    before = ticks()
    count = "n=0; while [ $n -lt 60000 ]; do n=$((n+1)); done"
    shell.succeed(f"for p in $(seq {programs}); do ( {count} ) & done; wait", within_s=patience.boots(1))
    return [after - earlier for after, earlier in zip(ticks(), before, strict=True)]
