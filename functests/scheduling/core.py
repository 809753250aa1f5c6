"""The core of lane ``sriov`` on the cluster that runs, where this machine has room for one more worker.

    python -m functests.scheduling.core

Adds the worker (as ``make cluster-up LANE=sriov``) and runs lane ``sriov-core``. Where less memory is free nothing
runs, and that is said: the worker would take it from guests of other tests. Exit status as that of what was run.
"""

import sys
from collections.abc import Callable, Sequence

from cluster_up import exec as host
from functests.scheduling import machine

NEEDED_MIB = 8192
LANE = "sriov-core"
_UP = ("-m", "cluster_up", "up", "--machines", "1")
_TESTS = ("-m", "pytest", "functests", "--lane", LANE)


def main(
    run: Callable[[Sequence[str]], int] = host.attach, free_mib: Callable[[], int] = machine.available_mib
) -> int:
    free = free_mib()
    if free < NEEDED_MIB:
        print(f"lane {LANE} is left out: {free} MiB are free, its worker and guests need {NEEDED_MIB}", flush=True)
        return 0
    return run([sys.executable, *_UP]) or run([sys.executable, *_TESTS])


if __name__ == "__main__":
    sys.exit(main())
