"""Commands in containers and ports of pods, through the API server: Kubernetes' channel protocol over WebSocket.

The first byte of a frame says its channel (v4.channel.k8s.io).
"""

import json
import threading
from dataclasses import dataclass
from urllib.parse import quote

import websocket

from functests.libs import patience
from functests.libs.console import frames, open_socket
from functests.libs.kube import Object, Space
from functests.libs.rest import core_path

_SUBPROTOCOL = "v4.channel.k8s.io"
_OUT, _ERROR, _STATUS = 1, 2, 3


@dataclass(frozen=True)
class Finished:
    """``code``: exit status; -1 where the command could not be started. ``error``: what it wrote there, or why not."""

    code: int
    out: str
    error: str


class Running:
    """A command in a container. ``out`` grows while it runs."""

    def __init__(self, space: Space, pod: Object, argv: tuple[str, ...], container: str) -> None:
        query = "&".join(f"command={quote(word, safe='')}" for word in argv)
        path = f"{core_path('pods', space.name, pod['metadata']['name'])}/exec?container={container}&stdout=1&stderr=1"
        self._socket = open_socket(space.rest, f"{path}&{query}", subprotocols=(_SUBPROTOCOL,))
        self._parts: dict[int, bytearray] = {_OUT: bytearray(), _ERROR: bytearray(), _STATUS: bytearray()}
        self._reader = threading.Thread(target=self._read, daemon=True, name="exec")
        self._reader.start()

    def _read(self) -> None:
        for opcode, data in frames(self._socket):
            if opcode != websocket.ABNF.OPCODE_CLOSE and data and data[0] in self._parts:
                self._parts[data[0]] += data[1:]

    @property
    def out(self) -> str:
        return self._parts[_OUT].decode(errors="replace")

    def wait(self, *, within_s: float) -> Finished:
        self._reader.join(within_s)
        assert not self._reader.is_alive(), f"still running after {within_s:.0f} s; it said {self.out[-500:]!r}"
        status = json.loads(self._parts[_STATUS] or b"{}")
        error = self._parts[_ERROR].decode(errors="replace")
        if status.get("status") == "Success":
            return Finished(0, self.out, error)
        causes = (status.get("details") or {}).get("causes") or []
        codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
        return Finished(codes[0] if codes else -1, self.out, error or str(status.get("message", "")))

    def close(self) -> None:
        self._socket.close()


def start(space: Space, pod: Object, *argv: str, container: str = "compute") -> Running:
    """Start a command as the container's own user, in its namespaces and its cgroup."""
    return Running(space, pod, argv, container)


def run(space: Space, pod: Object, *argv: str, container: str = "compute", within_s: float | None = None) -> Finished:
    running = start(space, pod, *argv, container=container)
    try:
        return running.wait(within_s=patience.promised(30) if within_s is None else within_s)
    finally:
        running.close()


def succeed(space: Space, pod: Object, *argv: str, container: str = "compute", within_s: float | None = None) -> str:
    done = run(space, pod, *argv, container=container, within_s=within_s)
    assert done.code == 0, f"{argv[:2]} in {container} exited {done.code}: {done.error[-2000:]} {done.out[-500:]}"
    return done.out


def ask_port(space: Space, pod: Object, port: int, line: str) -> str:
    """One line to a pod's port as ``kubectl port-forward`` brings it there: loopback inside the pod. What came back;
    "" when the connection ended without an answer."""
    path = f"{core_path('pods', space.name, pod['metadata']['name'])}/portforward?ports={port}"
    socket = open_socket(space.rest, path, subprotocols=(_SUBPROTOCOL,))
    answer = bytearray()
    heads = 2                       # each of the two channels begins with the port's number
    try:
        socket.settimeout(patience.promised(15))
        socket.send_binary(b"\0" + line.encode() + b"\n")
        while b"\n" not in answer:
            opcode, data = socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE or (heads <= 0 and data[:1] == b"\1"):
                return ""
            if heads > 0:
                heads -= 1
            elif data[:1] == b"\0":
                answer += data[1:]
    except (websocket.WebSocketException, OSError):
        return ""
    finally:
        socket.close()
    return answer.decode(errors="replace").strip()
