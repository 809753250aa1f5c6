"""One guest that moves again and again, under ping and disk writes: what it lost, and what it left on the nodes.

A part of ``python -m benchmarks.migration --endure COUNT``. The guest asks a pod for echoes all the time and writes
records to a shared disk, each synced; its memory holds bytes with a known digest. All of that is checked every few
moves and in the end. Leaks are what the nodes have more of than before, once the namespace is gone.
"""

import contextlib
import re
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles
from typing import Any

from benchmarks import progress, vmis
from functests.libs import build, guestnet, ledger_nodes, moves, patience, pods, records
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.ledger import Item
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.witness import Witness
from virt.base import waiting

_NAME = "bench-endurance"
_LOOK_EVERY = 20                # moves between two looks at the guest
_RECORDS = 110_000              # of 512 bytes: they fit on the disk, and last for more than an hour
_GONE_S = 180.0
_PING = "{{ setsid sh -c 'ping -i 0.2 {0} || ping {0}' > /run/ping.log 2>&1 < /dev/null & }}"
_SLEEPS = "import time; time.sleep(86400)"


def pings(log: str) -> tuple[int, int, int]:
    """Sent, lost, and the longest row of lost ones, from what ping printed.

    >>> pings("64 bytes: seq=0\\n64 bytes: seq=1\\n64 bytes: seq=4\\n64 bytes: seq=6\\n")
    (7, 3, 2)
    """
    numbers = sorted({int(number) for number in re.findall(r"seq=(\d+)", log)})
    if not numbers:
        return 0, 0, 0
    rows = [after - before - 1 for before, after in zip([-1, *numbers], numbers, strict=False)]
    return numbers[-1] + 1, sum(rows), max(rows)


def guest(space: Space, cluster: Cluster) -> Console:
    claim = build.pvc("data", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"persistentVolumeClaim": {"claimName": "data"}})
    pods.start(space, pods.python_pod(cluster, "peer", _SLEEPS))
    peer = space.rest.get(core_path("pods", space.name, "peer")).ok()["status"]["podIP"]
    _, shell = space.boot(manifest)
    guestnet.addressed(shell)
    records.begin(shell, most=_RECORDS)
    shell.succeed(_PING.format(peer))
    return shell


def one_move(space: Space, number: int) -> float:
    """Seconds from the request until it has succeeded. Raises WaitTimeout when it has not, which loses the guest."""
    began = time.monotonic()
    name = moves.migrate(space, "vm", f"move-{number}")
    moves.reach(space, name, "Succeeded", within_s=600)
    return time.monotonic() - began


def endured(cluster: Cluster, nodes: Nodes, count: int) -> dict[str, Any]:
    took: list[float] = []
    lost = wrong = 0
    told: dict[str, Any] = {}
    with ThreadPoolExecutor(len(cluster.nodes)) as pool:
        before = ledger_nodes.look(nodes, pool).items
        with vmis.space(cluster, _NAME) as space:
            witness = Witness(guest(space, cluster))
            uid = space.vmi("vm")["metadata"]["uid"]
            for number in progress.each("moves", count):
                took.append(one_move(space, number))
                if space.vmi("vm")["metadata"]["uid"] != uid:
                    lost += 1
                    break
                if number % _LOOK_EVERY == _LOOK_EVERY - 1 or number == count - 1:
                    witness.shell = space.shell("vm")
                    wrong += _is_wrong(witness)
            if not lost:
                log = witness.shell.succeed("cat /run/ping.log", within_s=120)
                sent, missed, row = pings(log)
                told = {"records": records.check(witness.shell), "stood_still_s": witness.tell().step_s,
                        "pings": sent, "pings_lost": missed, "pings_lost_in_a_row": row}
        leaks = left(nodes, pool, space, before)
    return {
        "benchmark": "endurance", "moves": len(took), "lost_guests": lost, "wrong_checksums": wrong,
        "leaks": len(leaks), "left": [str(item) for item in leaks[:20]], **told,
        "moved_s": round(median(took), 2), "moved_p95_s": round(quantiles(took, n=20)[-1], 2) if count > 1 else None,
        "bar": {"lost_guests": 0, "wrong_checksums": 0, "leaks": 0},
    }


def _is_wrong(witness: Witness) -> bool:
    """Whether the guest's memory is another one, or it was booted anew, or missed a tick."""
    try:
        witness.check(still_s=5)
    except AssertionError as error:
        print(f"wrong: {error}", flush=True)
        return True
    return False


def left(nodes: Nodes, pool: ThreadPoolExecutor, space: Space, before: Iterable[Item]) -> list[Item]:
    """What the nodes have more of than before; what is just going gets its time."""
    patience.eventually(
        "the namespace is gone", lambda: space.rest.get(f"/api/v1/namespaces/{space.name}").code,
        lambda code: code == 404, within_s=_GONE_S, every_s=1)
    known = frozenset(before)

    def more() -> list[Item]:
        return sorted(ledger_nodes.look(nodes, pool).items - known)

    with contextlib.suppress(waiting.WaitTimeout):
        return waiting.wait_for(
            more, lambda found: not found, deadline_s=_GONE_S, every_s=2, what="nothing is left on the nodes")
    return more()
