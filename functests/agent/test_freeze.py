"""Frozen file systems and clocks that were stopped: what the agent does for backups and after a pause."""

import time

import pytest

from functests.libs import build, guest, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space, condition
from functests.libs.stalls import STALLS

PAUSE_S = 10


def _frozen(vmi: Object) -> str:
    return str(vmi["status"].get("fsFreezeStatus", ""))


def _write(shell: Console, name: str) -> str:
    """Begin a write that ends only when /data takes it; the pid of the writer."""
    return shell.succeed(f"(echo {name} > /data/{name}; sync; echo done > /tmp/{name}) > /dev/null 2>&1 & echo $!")


def _hangs(shell: Console, pid: str) -> None:
    patience.eventually(
        "the write hangs", lambda: shell.run(f"cut -d' ' -f3 /proc/{pid}/stat").out.strip(), lambda state: state == "D",
        within_s=patience.promised(10),
    )  # fmt: skip


def _done(shell: Console, name: str) -> bool:
    return shell.run(f"test -e /tmp/{name}").code == 0


@pytest.mark.demand(seconds=75)
@pytest.mark.case("AGT-009")
@pytest.mark.case("AGT-008")
@pytest.mark.case("AGT-007")
def test_freeze_and_thaw(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent and has an ext4 disk at /data; a VMI that no node takes.
    Steps: freeze for 5 min twice, write, unfreeze twice; freeze for 6 s; then freeze without a time, a VMI that is not
        scheduled, a paused one, and one without an agent.
    Expected: 200 each, fsFreezeStatus frozen; the write hangs, tmpfs works; for 15 s the agent stays connected and
        able; after unfreeze the write is done and the key is gone. The second freeze ends after 6 s (4 s more or less).
        The others: 400 or more, 409, 400 or more within 10 s and the guest is not frozen after unpause, 500 with
        "command Freeze failed" and an event FreezeError.
    """
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "32Mi"}}, serial="data"
    )
    _, shell = space.boot(manifest)
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "far"), "no-such-node"))
    device = guest.disk(shell, "data")
    shell.succeed(f"mke2fs -q -t ext4 {device} && mkdir -p /data && mount {device} /data")
    space.wait_condition("vm", "AgentConnected", "True")

    def act(verb: str, name: str = "vm", **options: str) -> tuple[int, str]:
        answer = space.act_on_vmi(name, verb, options)
        return answer.code, answer.text

    assert act("freeze", unfreezeTimeout="5m")[0] == 200
    space.wait_vmi("vm", lambda vmi: _frozen(vmi) == "frozen", "is frozen", within_s=patience.promised(10))
    _hangs(shell, _write(shell, "one"))
    shell.succeed("echo works > /tmp/free")
    assert act("freeze", unfreezeTimeout="5m")[0] == 200
    patience.quiet(
        "the agent was lost or found wanting",
        lambda: (
            condition(space.vmi("vm"), "AgentConnected").get("status"),
            condition(space.vmi("vm"), "AgentVersionNotSupported"),
        ),
        lambda seen: seen != ("True", {}),
        for_s=15,
    )
    assert not _done(shell, "one"), "the write went through"
    assert act("unfreeze")[0] == 200
    patience.eventually("the write is done", lambda: _done(shell, "one"), bool, within_s=patience.promised(10))
    space.wait_vmi("vm", lambda vmi: "fsFreezeStatus" not in vmi["status"], "is not frozen")
    assert act("unfreeze")[0] == 200

    STALLS.start()
    began = time.monotonic()
    assert act("freeze", unfreezeTimeout="6s")[0] == 200
    _hangs(shell, _write(shell, "two"))
    patience.eventually("the write is done", lambda: _done(shell, "two"), bool, within_s=patience.promised(20))
    took = time.monotonic() - began
    assert 2 <= took <= 10 + STALLS.since(began), f"it thawed after {took:.1f} s"
    space.wait_vmi("vm", lambda vmi: "fsFreezeStatus" not in vmi["status"], "is not frozen")

    wrong = [act("freeze")[0], act("freeze", unfreezeTimeout="soon")[0]]
    assert all(code >= 400 for code in wrong), wrong
    assert act("freeze", "far", unfreezeTimeout="5s")[0] == 409
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    began = time.monotonic()
    code, text = act("freeze", unfreezeTimeout="5m")
    assert code >= 400, text
    took = time.monotonic() - began
    assert took <= 10 + STALLS.since(began), f"it was refused after {took:.1f} s"
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    shell.succeed("echo three > /data/three && sync")

    shell.succeed("agent stop")
    space.wait_condition("vm", "AgentConnected", "")
    code, text = act("freeze", unfreezeTimeout="5s")
    assert (code, "command Freeze failed" in text) == (500, True), text
    events = space.wait_events("vm", "FreezeError", "VirtualMachineInstance")
    assert events[-1]["type"] == "Warning", events
    shell.succeed("echo four > /data/four && sync")


def _late(shell: Console) -> float:
    """Seconds by which the guest's clock is behind this machine's."""
    shell.succeed("true")               # what is still on its way shall not count
    before = time.time()
    told = float(shell.succeed("date +%s"))
    return (before + time.time()) / 2 - told


@pytest.mark.demand(seconds=60)
@pytest.mark.case("AGT-010")
def test_the_clock_is_set_after_a_pause(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent and has a clock on its board.
    Steps: pause for 10 s and unpause, twice; the same with the agent stopped.
    Expected: the guest's time is this machine's within 2 s, each time; without the agent the gap stays.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    # The agent calls it by this path; this guest keeps it elsewhere.
    shell.succeed("ln -s ../bin/hwclock /usr/sbin/hwclock && hwclock -s")
    space.wait_condition("vm", "AgentConnected", "True")
    start = _late(shell)
    assert abs(start) <= 2, f"the guest's clock is {start:.1f} s late from the beginning"

    def paused() -> None:
        assert space.act_on_vmi("vm", "pause").code == 200
        space.wait_condition("vm", "Paused", "True")
        patience.quiet("unpaused by itself", lambda: condition(space.vmi("vm"), "Paused"), _is_false, for_s=PAUSE_S)
        assert space.act_on_vmi("vm", "unpause").code == 200
        space.wait_condition("vm", "Paused", "")

    for number in (1, 2):
        paused()
        late = patience.eventually("the clock is right", lambda: _late(shell), lambda seen: abs(seen) <= 2)
        assert abs(late) <= 2, f"after pause {number} the clock is {late:.1f} s late"

    shell.succeed("agent stop")
    space.wait_condition("vm", "AgentConnected", "")
    paused()
    late = _late(shell)
    assert late >= PAUSE_S - 2, f"nobody could set the clock, yet it is only {late:.1f} s late"


def _is_false(seen: object) -> bool:
    return not seen
