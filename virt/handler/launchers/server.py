"""The unix socket that launchers dial.

A launcher is known by what the kernel says of its process: pid -> cgroup -> pod UID -> the VMI of this node whose
``status.activePods`` has that UID. Nothing that it says itself counts. Until the controller has written the UID, the
connection waits and not a byte of it is read; after a deadline it is closed, and a real launcher dials again.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from virt.api import v1
from virt.base import log
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import Identify, Process, UnknownProcessError, identify
from virt.kube.objects import key_of
from virt.kube.store import Store
from virt.rpc.errors import RpcError
from virt.rpc.messages import PROTOCOL_VERSION, Event, Hello
from virt.rpc.peer import Peer

UNKNOWN_DEADLINE_S = 30.0
LAST_WORDS_S = 2.0
ACCEPT_AGAIN_S = 1.0
# Of this moment: descriptors or memory are used up, or who dialled has hung up. Who waits in the queue is not lost.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
MAX_WAITING = 512
POD_INDEX = "pod"

_logger = log.get("virt.handler.launchers")


def active_pods(vmi: v1.VirtualMachineInstance) -> tuple[str, ...]:
    """The index :data:`POD_INDEX` of the VMI store."""
    return tuple(vmi.status.active_pods)


class Launchers:
    """All launchers of this node. ``vmis`` has the index :data:`POD_INDEX`, and so has ``incoming``, the VMIs that are
    to come to this node; ``changed(key)`` is called whenever something about the launcher of that VMI is news."""

    def __init__(
        self,
        vmis: Store[v1.VirtualMachineInstance],
        changed: Callable[[str], None],
        *,
        node: str,
        path: Path,
        incoming: Store[v1.VirtualMachineInstance] | None = None,
        who: Identify = identify,
        unknown_deadline_s: float = UNKNOWN_DEADLINE_S,
    ) -> None:
        self._stores: tuple[Store[v1.VirtualMachineInstance], ...] = (
            vmis, *((incoming,) if incoming is not None else ()))
        self._changed = changed
        self._node = node
        self._path = path
        self._who = who
        self._unknown_deadline_s = unknown_deadline_s
        self._launchers: dict[str, Launcher] = {}                   # by pod UID
        self._waiting: dict[str, asyncio.Future[None]] = {}         # by pod UID: woken when its VMI may be known
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, vmi: v1.VirtualMachineInstance) -> Launcher | None:
        """The launcher of ``vmi`` on this node, None when none has connected since this handler started.

        After moves to and fro there may be an old one, whose guest has left, beside the one that counts.
        """
        found = [
            launcher for uid, node in vmi.status.active_pods.items()
            if node == self._node and (launcher := self._launchers.get(uid)) is not None
        ]
        return next((launcher for launcher in found if not launcher.has_lost_its_guest), found[0] if found else None)

    def __iter__(self) -> Iterator[Launcher]:
        return iter(tuple(self._launchers.values()))

    def of_key(self, key: str) -> tuple[Launcher, ...]:
        return tuple(launcher for launcher in self._launchers.values() if launcher.key == key)

    def drop(self, launcher: Launcher) -> None:
        """Forget a launcher whose process has ended. Once: its descriptors' numbers may be another's by now."""
        if self._launchers.get(launcher.pod_uid) is not launcher:
            return
        del self._launchers[launcher.pod_uid]
        launcher.hang_up()
        asyncio.get_running_loop().remove_reader(launcher.process.death)
        launcher.process.close()

    def vmi_changed(self, _: v1.VirtualMachineInstance | None, after: v1.VirtualMachineInstance | None) -> None:
        """Handler for the VMIs' informer: connections that wait for their VMI are looked at again at once."""
        for uid in after.status.active_pods if after is not None else ():
            waiting = self._waiting.get(uid)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    async def run(self) -> None:
        """Listen until cancelled; then all connections are closed."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.parent.chmod(0o755)
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.setblocking(False)
            listener.bind(str(fresh))
            fresh.chmod(0o666)              # launchers are uid 107
            listener.listen(128)
            fresh.rename(self._path)        # who dials never meets a socket that is not ready
            try:
                while True:
                    try:
                        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                    except OSError as error:
                        if error.errno not in _PASSING:
                            raise
                        _logger.error("no connection accepted", error=str(error))
                        await asyncio.sleep(ACCEPT_AGAIN_S)
                        continue
                    task = asyncio.create_task(self._met(sock))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            finally:
                for task in tuple(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _met(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as owned:
            owned.callback(sock.close)
            try:
                process = self._who(sock)
            except UnknownProcessError as error:
                _logger.warning("connection refused", error=str(error))
                return
            owned.callback(process.close)
            vmi = await self._vmi_of(process)
            if vmi is None:
                _logger.warning(
                    "connection refused: no VMI of this node has this pod", pod_uid=process.pod_uid, pid=process.pid
                )
                return
            owned.pop_all()
        await self._serve(self._launcher(vmi, process), sock)

    async def _vmi_of(self, process: Process) -> v1.VirtualMachineInstance | None:
        """Wait until the VMI of this process's pod is known, or None after the deadline."""
        uid = process.pod_uid
        before = self._waiting.pop(uid, None)
        if before is not None:
            before.cancel()                 # one connection of a pod may wait; the newest
        try:
            async with asyncio.timeout(self._unknown_deadline_s):
                while True:
                    vmi = next((vmi for store in self._stores for vmi in store.by_index(POD_INDEX, uid)
                                if vmi.status.active_pods[uid] == self._node), None)
                    if vmi is not None:
                        return vmi
                    if len(self._waiting) >= MAX_WAITING:
                        return None
                    waiting = self._waiting[uid] = asyncio.get_running_loop().create_future()
                    try:
                        await waiting
                    finally:
                        if self._waiting.get(uid) is waiting:
                            del self._waiting[uid]
        except TimeoutError:
            return None

    def _launcher(self, vmi: v1.VirtualMachineInstance, process: Process) -> Launcher:
        """The record of this process: the existing one when the process only dials again."""
        known = self._launchers.get(process.pod_uid)
        if known is not None and known.process.pid == process.pid and known.process.is_alive:
            process.close()
            return known
        if known is not None:
            self.drop(known)
        launcher = self._launchers[process.pod_uid] = Launcher(key_of(vmi), vmi, process)
        asyncio.get_running_loop().add_reader(process.death, self._died, launcher)
        return launcher

    def _died(self, launcher: Launcher) -> None:
        asyncio.get_running_loop().remove_reader(launcher.process.death)
        launcher.is_dead = True
        # Its last words may still lie in the socket; the end of the stream follows them. A child that inherited the
        # socket must not keep the connection up, though.
        asyncio.get_running_loop().call_later(LAST_WORDS_S, launcher.hang_up)
        _logger.info("launcher ended", key=launcher.key, pod_uid=launcher.pod_uid, pid=launcher.process.pid)
        self._changed(launcher.key)

    async def _serve(self, launcher: Launcher, sock: socket.socket) -> None:
        logger = _logger.bind(key=launcher.key, pod_uid=launcher.pod_uid, pid=launcher.process.pid)

        def on_event(event: Event) -> None:
            if isinstance(event, Hello) and event.version != PROTOCOL_VERSION:
                logger.warning("launcher speaks another version", theirs=event.version, ours=PROTOCOL_VERSION)
            launcher.take(event)
            self._changed(launcher.key)

        peer = Peer(sock, on_event=on_event)
        launcher.connected(peer)
        logger.info("launcher connected")
        try:
            await peer.run()
        except RpcError as error:
            logger.warning("connection of launcher broke", error=str(error))
        finally:
            peer.close()
            if launcher.disconnected(peer):
                logger.info("launcher disconnected")
                self._changed(launcher.key)
