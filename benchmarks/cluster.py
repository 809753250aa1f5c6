"""How long a person waits for a cluster: `up` to the first guest's login, `up` with nothing to do, all builds.

    python -m benchmarks.cluster            # all cached; a cluster of its own name
    python -m benchmarks.cluster --cold     # nothing cached: empty caches (ours and Go's), no images on the engine

Prints one JSON object; seconds. Times of the steps are those that `up` wrote down.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from cluster_up import engine, later
from cluster_up import exec as host
from cluster_up import state as states
from functests.libs import build, kube, rest
from functests.libs import cluster as clusters
from virt.base import waiting

_NAME = "bench"
_NAMESPACE = "bench"
_LATER_S = 3600.0         # for what `up` leaves to be built in the background


def cluster_up(*words: str, deadline_s: float) -> float:
    started = time.monotonic()
    argv = [sys.executable, "-m", "cluster_up", *words, "--name", _NAME]
    host.run(argv, deadline_s=deadline_s)
    return time.monotonic() - started


def forget_everything(scratch: Path) -> None:
    """Caches in an empty folder, and none of our images on the engine; those of a running cluster cannot be removed."""
    for variable in ("XDG_CACHE_HOME", "GOCACHE", "GOMODCACHE"):
        os.environ[variable] = str(scratch / variable.lower())
    listed = host.run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "virt-*"], deadline_s=60)
    tags = listed.stdout.split()
    if tags:
        host.run(["docker", "image", "rm", "--force", *tags], deadline_s=600, check=False)


def first_login_s() -> float:
    """From now to a shell of a VM that is created now."""
    started = time.monotonic()
    cluster = clusters.load(_NAME)
    admin = rest.Rest(cluster.api)
    admin.post("/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}}).ok()
    space = kube.Space(admin, _NAMESPACE)
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "first")))
    space.wait_running("first", within_s=300)
    with space.console("first").login(within_s=300):
        return time.monotonic() - started


def until_all_is_built() -> None:
    """Until the cluster has every guest image, each in its best form. Raises WaitTimeout."""
    def missing() -> list[str]:
        state = states.read(_NAME)
        return later.missing(state) if state else ["the cluster"]

    waiting.wait_for(missing, lambda names: not names, deadline_s=_LATER_S, every_s=1, what="all builds")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--cold", action="store_true", help="with an empty cache")
    chosen = arguments.parse_args()
    engine.start(partial(print, file=sys.stderr))
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as scratch:
        if chosen.cold:
            forget_everything(Path(scratch))
        cluster_up("down", deadline_s=300)
        started = time.monotonic()
        try:
            up_s = cluster_up("up", deadline_s=3600)
            login_s = first_login_s()
            again_s = cluster_up("up", deadline_s=60)
            until_all_is_built()
            all_s = time.monotonic() - started
            state = states.read(_NAME)
            assert state is not None
            result = {
                "benchmark": "cluster", "cold": chosen.cold, "up_s": round(up_s, 1),
                "up_to_first_login_s": round(up_s + login_s, 1), "up_unchanged_s": round(again_s, 2),
                "all_built_s": round(all_s, 1),
                "steps_s": {name: step.seconds for name, step in state.steps.items()},
                "bar": {"up_to_first_login_s": 1200 if chosen.cold else 90, "up_unchanged_s": 3, "all_built_s": 2400},
            }  # fmt: skip
        finally:
            cluster_up("down", deadline_s=300)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
