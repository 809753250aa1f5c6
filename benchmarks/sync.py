"""How long a change of one line takes to run in the cluster.

    python -m benchmarks.sync               # the controller: until its new pod holds the lease and reconciled a VM
    python -m benchmarks.sync --all         # a change that every component has: until all are rolled out

The line is a comment that is taken away again afterwards. Prints one JSON object; seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cluster_up import exec as host
from functests.libs import build, kube, patience, rest
from functests.libs import cluster as clusters

_ROOT = Path(__file__).parents[1]
_CONTROLLER_FILE = _ROOT / "virt" / "controller" / "__init__.py"
_SHARED_FILE = _ROOT / "virt" / "base" / "__init__.py"
_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kubevirt/leases/virt-controller"
_PODS = "/api/v1/namespaces/kubevirt/pods?labelSelector=kubevirt.io%3Dvirt-controller"


@contextmanager
def one_line_more(file: Path) -> Iterator[None]:
    before = file.read_text()
    file.write_text(f"{before}# {time.time()}\n")
    try:
        yield
    finally:
        file.write_text(before)


def sync() -> float:
    started = time.monotonic()
    host.run([sys.executable, "-m", "cluster_up", "sync"], deadline_s=600)
    return time.monotonic() - started


def controller_s(admin: rest.Rest, space: kube.Space, vm: dict[str, object]) -> dict[str, float]:
    """From the change to the new pod's first work: a status that only a reconcile writes."""
    old = {pod["metadata"]["name"] for pod in admin.get(_PODS).ok()["items"]}
    started = time.monotonic()
    with one_line_more(_CONTROLLER_FILE), ThreadPoolExecutor(1) as others:
        synced = others.submit(sync)              # it returns when all pods are ready and the old ones gone
        patience.eventually(
            "the new controller holds the lease", lambda: admin.get(_LEASE).ok()["spec"].get("holderIdentity", ""),
            lambda holder: bool(holder) and holder not in old, within_s=120, every_s=0.1,
        )  # fmt: skip
        lease_s = time.monotonic() - started
        space.create(vm)
        space.wait_vm_status("bench", "Stopped", within_s=60)
        reconciled_s = time.monotonic() - started
        return {"sync_s": synced.result(), "lease_s": lease_s, "reconciled_s": reconciled_s}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--all", action="store_true", help="change what every component has")
    chosen = arguments.parse_args()
    cluster = clusters.load()
    admin = rest.Rest(cluster.api)
    sync()                                   # whatever was changed before is not what is measured
    if chosen.all:
        with one_line_more(_SHARED_FILE):
            result: dict[str, object] = {"benchmark": "sync-all", "sync_s": round(sync(), 1), "bar": {"sync_s": 60}}
        sync()
        print(json.dumps(result))
        return
    name = f"bench-{int(time.time())}"
    admin.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    try:
        vm = build.vm_of(build.kernel_boot_vmi(cluster, "bench"), "Halted")
        times = controller_s(admin, kube.Space(admin, name), vm)
    finally:
        admin.delete(f"/api/v1/namespaces/{name}")
        sync()
    rounded = {key: round(value, 1) for key, value in times.items()}
    print(json.dumps({"benchmark": "sync-controller", **rounded, "bar": {"reconciled_s": 10}}))


if __name__ == "__main__":
    main()
