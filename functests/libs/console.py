"""The guest's serial console, as a client of the subresource sees it.

A command's end is found by a marker that is split in the typed line, so that its echo can never match; the exit status
comes with it. A kernel panic on the console fails the command at once, not at its deadline. Every byte is kept in the
transcript, which failures show.
"""

import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import websocket

from functests.libs import patience
from functests.libs.rest import VMI, Rest, subresource_path

PANIC = re.compile(rb"Kernel panic - not syncing|BUG: unable to handle|Attempted to kill init")
SUBPROTOCOL = "plain.kubevirt.io"
INTERRUPT_EVERY = 3            # attempts at a login


class ConsoleError(AssertionError):
    """The guest did not answer as it should. The text ends with the transcript's last lines."""


class ConsoleRefused(Exception):
    """The upgrade was refused: plain HTTP ``code`` and ``body``."""

    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"HTTP {code}: {body[:500]}")
        self.code = code
        self.body = body


@dataclass(frozen=True)
class Result:
    code: int
    out: str


def open_socket(
    rest: Rest, path: str, *, subprotocols: tuple[str, ...] = (SUBPROTOCOL,), timeout_s: float | None = None,
    origin: str = "",
) -> websocket.WebSocket:
    """A WebSocket to ``path`` on the API server with the identity of ``rest``. Raises ConsoleRefused.

    Whatever the server makes of ``subprotocols`` is accepted: see :func:`chosen_protocol`.
    """
    settings = rest.api.configuration
    url = settings.host.replace("https://", "wss://", 1) + path
    options = {"ca_certs": settings.ssl_ca_cert, "cert_reqs": ssl.CERT_REQUIRED}
    # As a plain header: the library would close a connection whose server chooses none.
    offer = {"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else {}
    if settings.cert_file:
        options |= {"certfile": settings.cert_file, "keyfile": settings.key_file}
    try:
        return websocket.create_connection(
            url,
            sslopt=options,
            # virt-api waits for a handler that is away, and the handler for its launcher.
            timeout=patience.promised(40) if timeout_s is None else timeout_s,
            enable_multithread=True,
            header=[f"{name}: {value}" for name, value in {**rest.identity(), **offer}.items()],
            origin=origin or None,
            skip_utf8_validation=True,
        )
    except websocket.WebSocketBadStatusException as refused:
        body = refused.resp_body or b""
        raise ConsoleRefused(refused.status_code, body.decode(errors="replace")) from refused


def frames(opened: websocket.WebSocket) -> Iterator[tuple[int, bytes]]:
    """Opcode and content of each frame until the other side goes away; its close frame, if it sends one, comes last."""
    opened.settimeout(None)
    while True:
        try:
            opcode, data = opened.recv_data()
        except (websocket.WebSocketException, OSError):
            return
        yield opcode, data
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return


def chosen_protocol(opened: websocket.WebSocket) -> str:
    """The subprotocol that the server named when it upgraded, "" for none."""
    return str((opened.getheaders() or {}).get("sec-websocket-protocol", ""))


class Console:
    """An open console. ``closed`` tells whether the other side ended it, ``close_code`` how."""

    def __init__(self, rest: Rest, namespace: str, name: str, *, version: str = "v1", **upgrade: Any) -> None:
        """``upgrade``: as open_socket takes it."""
        self.name = name
        self._socket = open_socket(rest, subresource_path(VMI, namespace, name, "console", version=version), **upgrade)
        self._received = bytearray()
        self._news = threading.Condition()
        self.closed = False
        self.close_code: int | None = None
        self._reader = threading.Thread(target=self._read, name=f"console-{name}", daemon=True)
        self._reader.start()

    @property
    def protocol(self) -> str:
        """What the server chose of the subprotocols."""
        return chosen_protocol(self._socket)

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
        self._reader.join(timeout=10)

    def _read(self) -> None:
        for opcode, data in frames(self._socket):
            with self._news:
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    self.close_code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
                else:
                    self._received += data
                self._news.notify_all()
        with self._news:
            self.closed = True
            self._news.notify_all()

    @property
    def transcript(self) -> str:
        return self._received.decode(errors="replace")

    @property
    def position(self) -> int:
        """Where the transcript ends now; ``wait_for`` looks behind a position."""
        return len(self._received)

    def behind(self, position: int) -> bytes:
        """The raw bytes that came after a position."""
        return bytes(self._received[position:])

    def send_text_frame(self, text: str) -> None:
        """What no client does: the bytes of a console come in binary frames."""
        self._socket.send(text)

    def send(self, data: str | bytes) -> None:
        self._socket.send_binary(data if isinstance(data, bytes) else data.encode())

    def wait_for(self, pattern: str, *, within_s: float, since: int = 0) -> re.Match[bytes]:
        """Until the transcript behind ``since`` matches ``pattern``. Fails early on a panic or a closed console."""
        wanted = re.compile(pattern.encode())
        deadline = time.monotonic() + within_s
        with self._news:
            while True:
                found = wanted.search(self._received, since)
                if found:
                    return found
                panic = PANIC.search(self._received, since)
                if panic:
                    raise ConsoleError(self._said(f"the guest panicked while waiting for {pattern!r}"))
                if self.closed:
                    raise ConsoleError(self._said(f"the console closed while waiting for {pattern!r}"))
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ConsoleError(self._said(f"nothing matched {pattern!r} in {within_s:.0f} s"))
                self._news.wait(left)

    def wait_panic(self, *, within_s: float) -> None:
        """Until the guest's kernel has said the last of its panic."""
        with self._news:
            if not self._news.wait_for(lambda: b"end Kernel panic" in self._received, within_s):
                raise ConsoleError(self._said(f"no panic in {within_s:.0f} s"))

    def wait_closed(self, *, within_s: float) -> None:
        with self._news:
            if not self._news.wait_for(lambda: self.closed, within_s):
                raise ConsoleError(self._said(f"the console was still open after {within_s:.0f} s"))

    def login(self, *, within_s: float) -> "Console":
        """Until a shell answers. Types Enter now and then: a console opened after the boot shows nothing by itself."""
        deadline = time.monotonic() + within_s
        attempt = 0
        while True:
            attempt += 1
            marker = secrets.token_hex(4)
            since = self.position
            # Ctrl-C ends what may run in the foreground; a shell that is just starting is left alone.
            interrupt = "\x03" if attempt % INTERRUPT_EVERY == 0 else ""
            self.send(f"{interrupt}\necho sh''ell-{marker}\n")
            try:
                # An answer that comes later is none: what was typed meanwhile would be in the next command's way.
                self.wait_for(f"\nshell-{marker}", within_s=max(2.0, within_s / 60), since=since)
                return self
            except ConsoleError:
                if self.closed or PANIC.search(self._received) or time.monotonic() > deadline:
                    raise ConsoleError(self._said(f"no shell answered in {within_s:.0f} s")) from None

    def interrupt(self, *, within_s: float | None = None) -> "Console":
        """End what runs in the foreground and wait for the shell: a terminal drops what is typed close behind Ctrl-C
        (n_tty flushes its queues on the interrupt character)."""
        self.send("\x03")
        return self.login(within_s=patience.boots(1) if within_s is None else within_s)

    def run(self, command: str, *, within_s: float | None = None) -> Result:
        """Run ``command`` in the guest's shell. Returns its exit status and its output without echo."""
        within_s = patience.boots(1) if within_s is None else within_s
        marker = secrets.token_hex(6)
        since = self.position
        self.send(f"echo be''gin-{marker}; {command}; echo en''d-{marker}-$?\n")
        found = self.wait_for(rf"end-{marker}-(\d+)\r?\n", within_s=within_s, since=since)
        block = bytes(self._received[since : found.start()])
        _, _, out = block.partition(f"begin-{marker}".encode())
        text = out.decode(errors="replace").replace("\r\n", "\n").removeprefix("\n")
        return Result(int(found.group(1)), text.removesuffix("\n"))

    def succeed(self, command: str, *, within_s: float | None = None) -> str:
        """Output of a command that must exit 0."""
        result = self.run(command, within_s=within_s)
        if result.code != 0:
            raise ConsoleError(self._said(f"{command!r} exited {result.code}"))
        return result.out.strip()

    def _said(self, what: str) -> str:
        tail = "\n".join(self.transcript.replace("\r", "").splitlines()[-40:])
        return f"{self.name}: {what}; the console's last lines:\n{tail}"
