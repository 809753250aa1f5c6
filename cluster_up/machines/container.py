"""Machines in containers of the engine: the container has the place on the network, QEMU in it is the machine.

:class:`cluster_up.machines.provider.Hosts`. One folder of the cluster holds each machine's files.
"""

import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster_up import docker
from cluster_up import exec as host
from cluster_up.errors import StepFailed
from cluster_up.exec import Log
from cluster_up.images import debian
from cluster_up.images.recipe import RECIPES
from cluster_up.kube import seconds_of
from cluster_up.machines import command, disk, stick
from cluster_up.machines.command import Files
from cluster_up.machines.model import ROLE, Machine
from cluster_up.machines.script import framed, read
from cluster_up.providers.api import NodeView
from virt.base import waiting

LABEL = "virt-harness.machine"         # of a machine's container: its cluster's name
_PACKAGES = ("iproute2", "qemu-system-x86", "socat")
_RECIPE = RECIPES / "machine"
_SUITE = "trixie"                      # bookworm's QEMU has no igb
ON_MACHINE = "/on-machine"
_INSIDE, _WIRE = Path("/machine"), Path("/wire")
_BOOT_S = 900.0                        # under emulation, on a machine that others use too
_RUN = ["sh", "/start.sh"]
# As much as a node of kind has. With a quarter its guests stood still whenever the other nodes had work.
_SHARES = "1024"


class Containers:
    """``folder`` is the cluster's. ``kvm``: whether a guest boots on this host's /dev/kvm; ``baked``: see disk.py."""

    def __init__(
        self, cluster: str, network: str, folder: Path, *, kvm: Callable[[], bool],
        baked: Callable[[], Sequence[str]], log: Log,
    ) -> None:
        self._cluster = cluster
        self._network = network
        self._folder = folder / "machines"
        self._kvm = kvm
        self._baked = baked
        self._log = log

    def views(self) -> tuple[NodeView, ...]:
        found = []
        for each in docker.inspect_all(docker.containers(**{LABEL: self._cluster})):
            address = each["NetworkSettings"]["Networks"].get(self._network, {}).get("IPAddress", "")
            state = each["State"]
            found.append(NodeView(
                each["Name"].lstrip("/"), ROLE, address, state["Running"], seconds_of(state["StartedAt"])))
        return tuple(sorted(found, key=lambda view: view.name))

    def make(self, machine: Machine, image: str) -> None:
        image_of_qemu = debian.base_image("machine", _SUITE, _PACKAGES, log=self._log)
        made = disk.files(image, self._baked(), self._log)
        place = self._folder / machine.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        wire = self._folder / "wire"
        wire.mkdir(exist_ok=True)
        for name in ("vmlinux", "initrd", "disk.img"):
            host.run(["cp", "--sparse=always", made / name, place / name], deadline_s=300)
        (place / "stick.img").write_bytes(stick.content(machine.name))
        for name in ("start.sh", "on-machine"):
            shutil.copy(_RECIPE / name, place)
            (place / name).chmod(0o755)
        kvm = self._kvm()
        self._log(f"{machine.name}: QEMU with {machine.memory_mib} MiB, {'KVM' if kvm else 'emulated'}")
        docker.run(
            "run", "--detach", "--name", machine.name, "--hostname", machine.name, "--network", self._network,
            "--label", f"{LABEL}={self._cluster}", "--label", f"{docker.LABEL}={self._cluster}",
            "--cpu-shares", _SHARES,
            "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun", *(["--device", "/dev/kvm"] if kvm else []),
            "--volume", f"{place}:{_INSIDE}", "--volume", f"{wire}:{_WIRE}",
            "--volume", f"{place / 'start.sh'}:/start.sh:ro",
            "--volume", f"{place / 'on-machine'}:{ON_MACHINE}:ro",
            image_of_qemu, *_RUN, *command.argv(machine, Files(_INSIDE, _WIRE), kvm=kvm),
        )  # fmt: skip
        self._await(machine.name)

    def start(self, name: str) -> None:
        docker.run("start", name)
        self._await(name)

    def remove(self, name: str) -> None:
        docker.run("rm", "--force", "--volumes", name)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def run(self, name: str, script: str, *, deadline_s: float) -> str:
        mark = secrets.token_hex(8)
        argv = ["docker", "exec", "--interactive", name, ON_MACHINE]
        done = host.run(argv, input=framed(script, mark), deadline_s=deadline_s, check=False)
        code, said = read(done.stdout, mark)
        if code != 0:
            result = host.Result((*argv, "<", script), done.where, code, said, done.stderr, done.seconds)
            raise host.RunError(result)
        return said

    def shell(self, name: str) -> int:
        return host.attach(["docker", "exec", "--interactive", "--tty", name, ON_MACHINE, "-t"])

    def _usage(self, name: str) -> str:
        """Use of processors and memory, in the engine's words."""
        form = "{{.CPUPerc}} of a processor, {{.MemUsage}} of memory"
        argv = ["docker", "stats", "--no-stream", "--format", form, name]
        return host.run(argv, deadline_s=docker.QUICK_S, check=False).stdout.strip()

    def _await(self, name: str) -> None:
        """Until a command on it is answered and its containerd is up."""

        def look() -> str:
            try:
                return self.run(name, "systemctl is-active containerd machine-shell", deadline_s=20)
            except host.RunError as error:
                self._log(f"{name}: booting, {self._usage(name)}")
                return f"not yet: {error.result.stdout.strip()[-200:]}"

        def is_over(_: str) -> bool:
            found = docker.inspect("container", name)
            return found is None or not found["State"]["Running"]

        self._log(f"{name}: booting")
        try:
            waiting.wait_for(
                look, lambda said: said.split() == ["active", "active"], stop=is_over, deadline_s=_BOOT_S, every_s=2.0,
                what=f"{name} to boot",
            )  # fmt: skip
        except (waiting.WaitTimeout, waiting.WaitStopped) as error:
            console = docker.run("logs", "--tail", "40", name)
            raise StepFailed(f"{error}\n--- console of {name}\n{console}") from error
