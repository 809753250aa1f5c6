"""How the machine is divided between nodes that each see all of it. Pure.

Every node of the dev cluster is a container that reports all CPUs and all memory, so the scheduler would count the
machine once per node. What a node must not give to pods is reserved for the system.
"""

from collections.abc import Mapping
from dataclasses import dataclass

CONTROL_PLANE_MILLICPU = 1000      # static pods ask for 650, CoreDNS for 200, the stack for some 50
CONTROL_PLANE_MIB = 2048
LEAST_WORKER_MILLICPU = 500        # below this the machine is counted more than once; system pods must fit
LEAST_WORKER_MIB = 1024


@dataclass(frozen=True)
class Reserve:
    """What a node keeps from pods."""

    millicpu: int
    mib: int


def reserves(
    *, cpus: int, machine_mib: int, usable_mib: int | None, control_planes: int, workers: int
) -> Mapping[str, Reserve]:
    """The reserve of a node by its role, such that what all nodes give away adds up to the machine once.

    ``usable_mib`` bounds the memory of all nodes together (None: the machine's).

    >>> reserves(cpus=4, machine_mib=16384, usable_mib=None, control_planes=1, workers=2)["worker"]
    Reserve(millicpu=2500, mib=9216)
    """
    total_mib = min(usable_mib or machine_mib, machine_mib)
    worker_millicpu = max((cpus * 1000 - control_planes * CONTROL_PLANE_MILLICPU) // workers, LEAST_WORKER_MILLICPU)
    worker_mib = max((total_mib - control_planes * CONTROL_PLANE_MIB) // workers, LEAST_WORKER_MIB)
    return {
        "control-plane": Reserve(max(cpus * 1000 - CONTROL_PLANE_MILLICPU, 0), max(machine_mib - CONTROL_PLANE_MIB, 0)),
        "worker": Reserve(max(cpus * 1000 - worker_millicpu, 0), max(machine_mib - worker_mib, 0)),
    }
