"""Guests with a virtual function that move: the function stays, the other node's takes its place, or it comes back."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from functests.libs import claims, functions, moves, patience
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.functions import GUEST, ON_EACH, PEER
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import kubevirt_path

Policy = Callable[..., str]

pytestmark = [
    pytest.mark.serial, pytest.mark.needs("sriov", "two-sriov"), pytest.mark.timeout(2400),
    pytest.mark.demand(vcpus=1, memory_mib=3000, boots=1, seconds=400),
]
MAC = "de:ad:00:00:be:ef"
UNSCHEDULABLE = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
_BACK_S = 60                    # the promise: so long after its move, or its failure, a guest has its card again
# What a system's own network service does: the card with this MAC has the address, whenever it comes, and whatever asks
# for a lease on it takes away. Each change of the card is noted with the guest's uptime: "12.5 eth1", "80.1" when it
# has gone. While nothing happens only "sleep" is started: under two emulations each program takes a second.
_KEEPER = (
    "had=-; while :; do has=; for n in /sys/class/net/*; do read a < $n/address; "
    f'[ "$a" = {MAC} ] && has=${{n##*/}}; done; '
    'if [ "$has" != "$had" ]; then read up idle < /proc/uptime; echo $up $has >> /run/card; had=$has; fi; '
    f'own=; while read a; do case $a in *" {GUEST}") own=1;; esac; done < /proc/net/fib_trie; '
    f'[ -z "$has" ] || [ -n "$own" ] || {{ ip link set $has up; ip addr replace {GUEST}/24 dev $has; }}; '
    "sleep 1; done"
)
# A few MiB without pause are more than a migration sends that is held; nothing more is written once the file is gone.
_DIRTY = (
    "head -c 4194304 /dev/urandom > /run/dirty.a && "
    "{ setsid sh -c 'while cat /run/dirty.a > /run/dirty.b; do :; done' > /dev/null 2>&1 < /dev/null & }"
)


@dataclass
class Guest:
    """Called "vm". ``peer``: the machine whose second card answers at PEER."""

    space: Space
    shell: Console
    boot_id: str
    home: moves.Home

    @property
    def card(self) -> list[tuple[float, str]]:
        """Each change of its card: uptime and the link's name, "" when there was none any more."""
        said = self.shell.succeed("cat /run/card", within_s=functions.patient(0.5))
        rows = [line.split() for line in said.splitlines()]
        return [(float(row[0]), row[1] if len(row) > 1 else "") for row in rows]

    def reconnect(self) -> None:
        self.shell = self.space.console("vm").login(within_s=functions.patient())

    def until_card(self, is_there: bool, *, changes: int) -> list[tuple[float, str]]:
        """Until its card has come, or gone, after so many changes in all."""
        return patience.eventually(
            f"the guest {'has' if is_there else 'has lost'} its card", lambda: self.card,
            lambda seen: len(seen) == changes and bool(seen[-1][1]) == is_there,
            within_s=_BACK_S + functions.patient(), every_s=1.0)

    def talks(self) -> None:
        """The peer answers: at last, and then all of five."""
        patience.eventually(
            "a ping is answered", lambda: functions.answered(self.shell, PEER, 1), lambda count: count == 1,
            within_s=_BACK_S + functions.patient(), every_s=1.0)
        assert functions.answered(self.shell, PEER) == 5


def _guest(
    space: Space, cluster: Cluster, nodes: Nodes, *, kernel_args: str = "", annotations: dict[str, str] | None = None
) -> Guest:
    """It runs on one of the machines, with a card of the first network, and keeps that card's address."""
    functions.define(space, "fast", "pf1")
    manifest = functions.guest(
        cluster, "vm", {"name": "fast", "macAddress": MAC}, memory="128Mi", on=None, kernel_args=kernel_args)
    manifest["metadata"]["annotations"] = annotations or {}
    vmi, shell = functions.boot(space, manifest)
    vmi = space.wait_condition("vm", "LiveMigratable", "True", within_s=functions.patient())
    assert "reason" not in condition(vmi, "LiveMigratable")
    boot_id = functions.boot_id(shell)
    keeping = f": > /run/card; {{ setsid sh -c '{_KEEPER}' > /dev/null 2>&1 < /dev/null & }}"
    shell.succeed(keeping, within_s=functions.patient(0.5))
    return Guest(space, shell, boot_id, moves.home(space, nodes, "vm"))


def _other(cluster: Cluster, guest: Guest) -> str:
    return next(name for name in cluster.machines if name != guest.home.node)


def _macs(nodes: Nodes, name: str) -> list[str]:
    return [each.mac for each in functions.functions(nodes[name], "pf1") if not each.is_neutral]


def _stayed(guest: Guest, nodes: Nodes, cluster: Cluster) -> str:
    """The guest has its card, its node and its life; the other node's function is free. The reason that was told."""
    reason = moves.check_stayed(guest.space, nodes, "vm", guest.home)
    guest.talks()
    found: list[Claim] = [
        ("boot", functions.boot_id(guest.shell), guest.boot_id),
        ("functions here", _macs(nodes, guest.home.node), [MAC]),
    ]
    assert claims.wrong(found) == ""
    patience.eventually(
        "the other node's functions are as they were", lambda: _macs(nodes, _other(cluster, guest)),
        lambda macs: macs == [], within_s=functions.patient(0.5), every_s=1.0)
    return reason


@pytest.mark.case("SRI-011")
def test_a_guest_moves_and_talks_on(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: two machines whose cards are on one wire; a guest with a function and a MAC on one of them, that
        talks to a card; a policy that allows post-copy.
    Steps: migrate it.
    Expected: it is LiveMigratable; it loses its card and has one of the same MAC again within 60 s, and talks; it is on
        the other node, not rebooted; the first node's function is as before it had it, the other's has the MAC; it was
        no post-copy.
    """
    policy(allowPostCopy=True, allowWorkloadDisruption=True)
    guest = _guest(space, cluster, nodes)
    with functions.peer(nodes[cluster.machines[0]], "pf2"):
        guest.until_card(True, changes=1)
        guest.talks()
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded", within_s=functions.patient(3))
        after = moves.check_moved(space, nodes, "vm", guest.home, "move")
        guest.reconnect()
        seen = guest.until_card(True, changes=3)
        guest.talks()
    patience.eventually(
        "the first node's function is as it was", lambda: _macs(nodes, guest.home.node), lambda macs: macs == [],
        within_s=functions.patient(0.5), every_s=1.0)
    vmi = space.vmi("vm")
    listed = next(each for each in vmi["status"]["interfaces"] if each["name"] == "fast0")
    found: list[Claim] = [
        ("what became of the card", [bool(name) for _, name in seen], [True, False, True]),
        ("it was back in time", seen[2][0] - seen[1][0] <= patience.promised(_BACK_S), True),
        ("boot", functions.boot_id(guest.shell), guest.boot_id),
        ("functions of the other node", _macs(nodes, after.node), [MAC]),
        ("MAC in the VMI", listed.get("mac"), MAC),
        ("mode", moves.state(vmi).get("mode"), "PreCopy"),
        ("links in the guest", list(functions.links(guest.shell)), [MAC]),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.case("SRI-012")
def test_a_guest_that_does_not_leave_gets_its_card_back(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a guest with a function, whose migrations do not end by themselves.
    Steps: migrate, and when its card has gone, delete the migration; again, and kill QEMU at the target; then let it
        go.
    Expected: twice it has its card again within 60 s, with its MAC, and talks, where it was; the third time it moves.
    """
    name = policy(bandwidthPerMigration=moves.HELD)
    guest = _guest(space, cluster, nodes)
    guest.shell.succeed(_DIRTY, within_s=functions.patient())
    with functions.peer(nodes[cluster.machines[0]], "pf2"):
        guest.until_card(True, changes=1)
        guest.talks()

        moves.migrate(space, "vm")
        moves.reach(space, "move", "Running", within_s=functions.patient(2))
        guest.until_card(False, changes=2)
        space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
        guest.until_card(True, changes=3)
        patience.eventually("the migration is gone", lambda: moves.get(space, "move"), lambda found: found is None)
        assert _stayed(guest, nodes, cluster) == "Live migration has been aborted"

        moves.migrate(space, "vm", "second")
        moves.reach(space, "second", "Running", within_s=functions.patient(2))
        guest.until_card(False, changes=4)
        _kill_target(space, nodes)
        moves.reach(space, "second", "Failed", within_s=functions.patient())
        guest.until_card(True, changes=5)
        assert _stayed(guest, nodes, cluster)

        # Between two emulated machines even what nobody limits may be slower than the guest writes.
        guest.shell.succeed("rm /run/dirty.a", within_s=functions.patient(0.5))
        space.rest.delete(f"{moves.POLICIES}/{name}").ok()
        moves.migrate(space, "vm", "third")
        moves.reach(space, "third", "Succeeded", within_s=functions.patient(4))
        moves.check_moved(space, nodes, "vm", guest.home, "third")
        guest.reconnect()
        seen = guest.until_card(True, changes=7)
        guest.talks()
    assert functions.boot_id(guest.shell) == guest.boot_id
    away_s = seen[6][0] - seen[5][0]        # the first two times it was held for as long as this test took
    assert away_s <= patience.promised(_BACK_S), f"without its card for {away_s} s"


def _kill_target(space: Space, nodes: Nodes) -> None:
    """QEMU of the guest that is on its way."""
    told = moves.state(space.vmi("vm"))
    pod = next(each for each in space.pods(space.vmi("vm")) if each["metadata"]["name"] == told["targetPod"])
    node = nodes[told["targetNode"]]
    (qemu,) = patience.eventually(
        "QEMU waits at the target",
        lambda: [process for process in node.processes(pod["metadata"]["uid"]) if process.is_qemu],
        lambda found: len(found) == 1, within_s=functions.patient(0.5))
    node.run(f"kill -{int(signal.SIGKILL)} {qemu.pid}")


@pytest.mark.case("SRI-013")
@pytest.mark.demand(vcpus=1, memory_mib=4500, boots=1, seconds=400)
def test_a_guest_without_a_function_to_go_to_keeps_its_own(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a function; another VMI has all functions of the other node.
    Steps: migrate; the target's pod may be unschedulable for 20 s.
    Expected: it waits in Scheduling, people are told that no node takes the pod, and it fails; the guest never lost its
        card, and talks before, meanwhile and afterwards.
    """
    guest = _guest(space, cluster, nodes, annotations={UNSCHEDULABLE: "20"})
    other = _other(cluster, guest)
    space.create(functions.guest(cluster, "all", *({"name": "fast"} for _ in range(ON_EACH)), on=other))
    space.wait_running("all", within_s=functions.patient())
    with functions.peer(nodes[cluster.machines[0]], "pf2"):
        guest.until_card(True, changes=1)
        guest.talks()
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Scheduling", within_s=functions.patient(0.5))
        patience.eventually(
            "people are told", lambda: space.reasons("move"),
            lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=patience.promised(20))
        ended = moves.reach(space, "move", "Failed", within_s=patience.promised(30))
        moves.check_stayed(space, nodes, "vm", guest.home, handed_over=False)
        guest.talks()
    found: list[Claim] = [
        ("why", "timeout period exceeded" in ended["status"]["migrationState"]["failureReason"], True),
        ("what the VMI knows of it", moves.state(space.vmi("vm")), {}),
        ("changes of the card", len(guest.card), 1),
        ("boot", functions.boot_id(guest.shell), guest.boot_id),
        ("functions here", _macs(nodes, guest.home.node), [MAC]),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.case("SRI-014")
def test_a_guest_that_keeps_its_card_stays(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a function, whose kernel does not hear of hotplug.
    Steps: migrate.
    Expected: after about 30 s in phase Running it is Failed, for it waited for the host device in vain; the guest never
        lost its card, talks, and is where it was.
    """
    guest = _guest(space, cluster, nodes, kernel_args="acpiphp.disable=1 pcie_ports=compat")
    with functions.peer(nodes[cluster.machines[0]], "pf2"):
        guest.until_card(True, changes=1)
        guest.talks()
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Running", within_s=functions.patient(2))
        ended = moves.reach(space, "move", "Failed", within_s=patience.promised(30))
        reason = _stayed(guest, nodes, cluster)
    waited_s = moves.seconds_between(moves.entered(ended, "Running"), moves.entered(ended, "Failed"))
    found: list[Claim] = [
        ("why", reason.startswith("failed to wait for host-devices detach"), True),
        ("it had its time", 25 <= waited_s <= patience.promised(30), True),
        ("changes of the card", len(guest.card), 1),
    ]
    assert claims.wrong(found) == ""
