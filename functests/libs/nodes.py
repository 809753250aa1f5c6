"""What the nodes themselves say: processes, interfaces, rules and files, read inside the node's container.

A kind node is a container, so "on the node" is a command in it; a machine has a command for that in its container.
Processes of a pod are found by the pod's UID in
/proc/*/cgroup, never by a name that a guest or a tenant could choose.
"""

import json
import shlex
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import docker

from cluster_up.machines import container
from functests.libs import undo
from functests.libs.cluster import Cluster
from functests.libs.node_shell import Shell, ShellLost, open_shell


class NodeCommandError(AssertionError):
    """A command on a node ended with an exit status that the test did not expect."""


@dataclass(frozen=True)
class Process:
    pid: int
    argv: tuple[str, ...]

    @property
    def is_qemu(self) -> bool:
        return bool(self.argv) and "qemu-system" in self.argv[0]


class Node:
    """One node. ``run`` executes in its own namespaces, ``run_in`` in those of a process."""

    def __init__(self, name: str, engine: docker.DockerClient) -> None:
        self.name = name
        self._engine = engine
        self._container = engine.containers.get(name)
        self.is_machine = container.LABEL in self._container.labels
        self._command = (container.ON_MACHINE,) if self.is_machine else ("sh",)
        self._idle: deque[Shell] = deque()

    def identity(self) -> tuple[str, str]:
        """Id and start time of the node's container, asked now: they change when it is replaced or restarted."""
        self._container.reload()
        return str(self._container.id), str(self._container.attrs["State"]["StartedAt"])

    def restart(self) -> None:
        """As when the machine loses its power and gets it back: every process is killed, then it boots."""
        self._container.kill()
        self._container.wait(timeout=30)
        self._container.start()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The node is off inside the block: every process of it is killed."""
        note = undo.noted(undo.Power(node=self.name))
        self._container.kill()
        self._container.wait(timeout=30)
        try:
            yield
        finally:
            self._container.start()
            note.done()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No process of the node gets on inside the block; connections to it are taken and not answered."""
        note = undo.noted(undo.Power(node=self.name))
        self._container.pause()
        try:
            yield
        finally:
            self._container.unpause()
            note.done()

    def switch_on(self) -> None:
        """It runs, whether it was stopped, frozen or neither."""
        self._container.reload()
        if self._container.status == "paused":
            self._container.unpause()
        self._container.start()             # without effect on one that runs

    @contextmanager
    def filtered(self, table: str, rules: str) -> Iterator[None]:
        """nft's rules in that table (family and name) are in force inside the block."""
        gone = f"! nft list table {table} > /dev/null 2>&1 || nft delete table {table}"
        note = undo.noted(undo.Script(node=self.name, script=gone, of=f"nft table {table}"))
        self.run(f"echo {shlex.quote(f'table {table} {{ {rules} }}')} | nft -f -")
        try:
            yield
        finally:
            self.run(f"nft delete table {table}")
            note.done()

    def addresses(self) -> list[str]:
        """Addresses of this machine on which ports of the node's container are published."""
        self._container.reload()
        published = self._container.attrs["NetworkSettings"]["Ports"] or {}
        return [entry["HostIp"] for entries in published.values() for entry in entries or []]

    def try_run(self, script: str) -> tuple[int, str]:
        """Exit status and output (stdout and stderr) of a shell script. Threads may do this side by side."""
        shell = self._shell()
        try:
            answer = shell.run(script)
        except ShellLost as error:
            raise NodeCommandError(f"{self.name}: {script!r} did not come to its end: {error}") from error
        self._idle.append(shell)
        return answer

    def _shell(self) -> Shell:
        """One that nobody uses; those from before a restart of the node are at their end."""
        with suppress(IndexError):
            while True:
                shell = self._idle.pop()
                if shell.is_open():
                    return shell
                shell.close()
        return open_shell(self._engine, self.name, self._command)

    def run(self, script: str) -> str:
        code, output = self.try_run(script)
        if code != 0:
            raise NodeCommandError(f"{self.name}: {script!r} exited {code}: {output[-2000:]}")
        return output

    def run_in(self, pid: int, script: str, *, namespaces: str = "-n") -> str:
        """A script of the node's own programs in namespaces of process ``pid`` (nsenter flags, default the network)."""
        return self.run(f"nsenter -t {pid} {namespaces} sh -c {shlex.quote(script)}")

    def processes(self, pod_uid: str) -> list[Process]:
        """All processes in the cgroups of the pod."""
        # Both drivers: cgroupfs writes pod<uid>, systemd writes it with underscores.
        forms = f"{pod_uid}\\|{pod_uid.replace('-', '_')}"
        script = (
            f"for d in $(grep -l '{forms}' /proc/[0-9]*/cgroup 2>/dev/null); do "
            "p=${d%/cgroup}; printf '%s ' ${p#/proc/}; tr '\\0' '\\037' < $p/cmdline; echo; done"
        )
        found = []
        for line in self.try_run(script)[1].splitlines():
            pid, _, rest = line.partition(" ")
            if pid.isdigit():
                found.append(Process(int(pid), tuple(part for part in rest.split("\x1f") if part)))
        return found

    def qemu(self, pod_uid: str) -> Process:
        """The one QEMU process of a pod."""
        found = [process for process in self.processes(pod_uid) if process.is_qemu]
        assert len(found) == 1, f"{self.name}: expected one QEMU of pod {pod_uid}, found {found}"
        return found[0]

    def links(self, pid: int) -> dict[str, dict[str, Any]]:
        """Interfaces in the network namespace of ``pid``, by name, as ``ip -d -j addr`` tells them."""
        shown = json.loads(self.run_in(pid, "ip -d -j addr"))
        return {link["ifname"]: link for link in shown if link}


class Nodes:
    """All nodes of the cluster by name."""

    def __init__(self, cluster: Cluster) -> None:
        engine = docker.from_env()
        self._nodes = {name: Node(name, engine) for name in cluster.nodes}

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def __iter__(self) -> Any:
        return iter(self._nodes.values())
