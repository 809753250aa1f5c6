"""How a forwarded connection ends."""

import hashlib

import pytest
import websocket

from functests.fixtures.warm import WarmVm
from functests.libs import patience
from functests.libs.console import ConsoleRefused, open_socket
from functests.libs.kube import Space
from functests.libs.rest import VMI, subresource_path

PORT = 9100
SIZE = 256 << 10
_REGULAR = 1000


def _tunnel(space: Space) -> websocket.WebSocket | None:
    """None while nothing listens in the guest."""
    try:
        return open_socket(space.rest, subresource_path(VMI, space.name, "vm", f"portforward/{PORT}"))
    except ConsoleRefused:
        return None


@pytest.mark.case("PFW-009")
def test_what_was_sent_before_the_end_arrives(warm_vm: WarmVm) -> None:
    """
    Preconditions: a guest that sends 256 KiB to whoever connects, and closes at once.
    Steps: connect through the portforward subresource and only read.
    Expected: all bytes, then the regular close (1000).
    """
    space, shell = warm_vm.space, warm_vm.shell
    shell.succeed(f"head -c {SIZE} /dev/urandom > /tmp/data")
    digest = shell.succeed("sha256sum < /tmp/data").split()[0]
    shell.succeed(f"{{ setsid nc -ll -p {PORT} -e cat /tmp/data > /dev/null 2>&1 < /dev/null & }}")
    socket = patience.eventually("the guest can be reached", lambda: _tunnel(space), lambda seen: seen is not None)
    assert socket is not None
    got, code = bytearray(), 0
    try:
        while not code:
            kind, data = socket.recv_data()
            if kind == websocket.ABNF.OPCODE_CLOSE:
                code = int.from_bytes(data[:2], "big")
            elif kind == websocket.ABNF.OPCODE_BINARY:
                got += data
    finally:
        socket.close()
    assert len(got) == SIZE
    assert hashlib.sha256(got).hexdigest() == digest
    assert code == _REGULAR
    shell.succeed("killall nc; rm /tmp/data")
