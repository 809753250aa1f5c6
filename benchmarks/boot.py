"""From a VMI's creation to the guest's userspace, against QEMU alone.

    python -m benchmarks.boot --name CLUSTER [--count 20] [--disk]

Both are measured in turn, one guest at a time: ``tiny`` as kernelBoot (or from its disk) until its serial console says
"tiny: ready". A VMI's time begins before the request that creates it is sent, bare QEMU's with the exec of QEMU in a
container of the launcher's image (``docker run``), with the CPU model, translation cache, memory and devices that the
VMI's QEMU had. Prints one JSON object; seconds, p50. ``phases`` of the VMIs, each since creation:

    pod         the launcher pod exists (as a watch tells it)
    launcher    the first process of its container was started
    connected   the handler knows the launcher       } from the handler's log
    defined     the domain was made and started      }
    scheduled   the VMI's phase
    qemu        QEMU was started
    running     the VMI's phase
    userspace   the guest is ready
"""

import argparse
import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

from benchmarks import progress, vmis
from cluster_up import exec as host
from functests.libs import build, patience
from functests.libs import cluster as clusters
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.watch import Watch

_BAR_S = 3.0
_DEVICES = (
    "-netdev user,id=n -device virtio-net-pci,netdev=n,romfile= -device virtio-scsi-pci "
    "-device virtio-serial-pci,max_ports=4 -chardev null,id=a "
    "-device virtserialport,chardev=a,name=org.qemu.guest_agent.0 -device VGA -device virtio-balloon-pci"
)


class Times:
    """When something was first seen in a watch, to 10 ms."""

    def __init__(self, watch: Watch, label: str) -> None:
        self._watch, self._label = watch, label
        self._first: dict[tuple[str, str], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            for _, obj in self._watch.seen():
                key = (obj["metadata"].get("labels", {}).get(self._label) or obj["metadata"]["name"],
                       obj.get("status", {}).get("phase", ""))
                self._first.setdefault(key, time.time())

    def first(self, name: str, phase: str | None = None) -> float:
        return min(at for (who, what), at in self._first.items() if who == name and phase in (None, what))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def handler_said(space: Space, node: str, key: str) -> dict[str, float]:
    """Times of the handler's log lines about a VMI, by message; the last of each."""
    pods = space.rest.get(core_path("pods", "kubevirt") + "?labelSelector=kubevirt.io%3Dvirt-handler").ok()["items"]
    name = next(pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == node)
    text = space.rest.get(core_path("pods", "kubevirt", name) + "/log?tailLines=200").text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {line["msg"]: datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line.get("key") == key}


def one_vmi(
    space: Space, nodes: Nodes, manifest: build.Manifest, seen: tuple[Times, Times]
) -> tuple[dict[str, float], vmis.OnNode]:
    """Phases, seconds since creation; and the guest, still running."""
    name = manifest["metadata"]["name"]
    pods, instances = seen
    created = time.time()
    space.create(manifest)
    vmi: Object = space.wait_running(name)
    guest = vmis.on_node(space, nodes, vmi)
    userspace = vmis.ready_at(guest)
    launchers = [each.pid for each in guest.node.processes(guest.pod_uid) if "virt.cli.launcher" in each.argv]
    said = handler_said(space, vmi["status"]["nodeName"], f"{space.name}/{name}")
    at = {
        "pod": pods.first(name), "launcher": min(map(guest.started_at, launchers)),
        "connected": said["launcher connected"], "defined": said["guest started"],
        "scheduled": instances.first(name, "Scheduled"),
        "qemu": guest.started_at(guest.qemu.pid), "running": instances.first(name, "Running"), "userspace": userspace,
    }  # fmt: skip
    return {phase: when - created for phase, when in at.items()}, guest


@contextmanager
def guest_files(cluster: Cluster, image: str) -> Iterator[Path]:
    """The files of a guest image, as the cluster's registry has it; the engine may have no copy any more."""
    with tempfile.TemporaryDirectory(prefix="bench-boot-") as scratch:
        made = host.run(["docker", "create", cluster.image(image), "none"], deadline_s=180).stdout.strip()
        try:
            for folder in ("boot", "disk"):
                host.run(["docker", "cp", f"{made}:/{folder}", scratch], deadline_s=120, check=False)
        finally:
            host.run(["docker", "rm", made], deadline_s=60)
        yield Path(scratch)


def bare_s(launcher: str, files: Path, options: str) -> float:
    """From QEMU's exec to "tiny: ready"; as for a VMI, that is the last change of the transcript."""
    script = (
        f"date +%s.%N; qemu-system-x86_64 {options} {_DEVICES} -nodefaults -display none -serial file:/tmp/log & "
        "until grep -qs 'tiny: ready' /tmp/log; do sleep 0.1; done; stat -c %.9Y /tmp/log; kill $!"
    )
    argv = ["docker", "run", "--rm", "--network", "none", "-v", f"{files}:/guest:ro", launcher, "sh", "-c", script]
    started, ready = host.run(argv, deadline_s=180).stdout.split()[:2]
    return float(ready) - float(started)


def options_like(argv: tuple[str, ...], boot: str) -> str:
    """What bare QEMU is given, from the VMI's QEMU."""
    def after(option: str) -> str:
        return argv[argv.index(option) + 1]

    memory = re.sub(r"^size=(\d+)k.*", lambda found: str(int(found[1]) // 1024), after("-m"))
    return f"-machine q35 -accel {after('-accel')} -cpu {after('-cpu')} -m {memory} {boot}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--name", help="cluster")
    arguments.add_argument("--count", type=int, default=20)
    arguments.add_argument("--disk", action="store_true", help="from the BIOS disk instead of kernelBoot")
    chosen = arguments.parse_args()
    cluster = clusters.load(chosen.name)
    nodes = Nodes(cluster)
    launcher = cluster.component_images["virt-launcher"].rpartition("/")[2]
    image = "tiny" if chosen.disk else "tiny-kernel"
    entry = cluster.images[image]
    if chosen.disk:
        boot = "-drive file=/guest/disk/disk.img,if=virtio,format=raw,snapshot=on"
    else:
        boot = (f"-kernel /guest{entry['kernel_path']} -initrd /guest{entry['initrd_path']} "
                f"-append '{entry['kernel_args']}'")
    found: list[dict[str, float]] = []
    bare: list[float] = []
    with guest_files(cluster, image) as files, vmis.space(cluster, "bench-boot") as space, \
            Watch(space.rest, core_path("pods", space.name)) as pod_watch, \
            Watch(space.rest, kubevirt_path(VMI, space.name)) as vmi_watch:
        seen = Times(pod_watch, "vm.kubevirt.io/name"), Times(vmi_watch, "none")
        for number in progress.each("boots", chosen.count):
            name = f"vm{number}"
            manifest = (build.disk_boot_vmi if chosen.disk else build.kernel_boot_vmi)(cluster, name)
            phases, guest = one_vmi(space, nodes, manifest, seen)
            found.append(phases)
            argv = guest.qemu.argv
            space.delete_vmi(name).ok()
            space.wait_vmi_gone(name, within_s=patience.boots(1))
            bare.append(bare_s(launcher, files, options_like(argv, boot)))
        for each in seen:
            each.stop()
    phases = {phase: round(median(each[phase] for each in found), 2) for phase in found[0]}
    result = {
        "benchmark": "boot", "image": image, "kernel": entry.get("kernel"), "count": chosen.count, "phases_s": phases,
        "vmi_s": phases["userspace"], "bare_s": round(median(bare), 2),
        "beyond_bare_s": round(phases["userspace"] - median(bare), 2),
        "spread_s": {"vmi": _spread([each["userspace"] for each in found]), "bare": _spread(bare)},
        "bar": {"beyond_bare_s": _BAR_S},
    }  # fmt: skip
    print(json.dumps(result))


def _spread(values: list[float]) -> list[float]:
    return [round(min(values), 2), round(max(values), 2)]


if __name__ == "__main__":
    main()
