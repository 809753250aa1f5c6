"""Messages about virtual functions, against bytes as the kernel's headers describe them."""

import struct

import pytest

from virt.handler.net import vfmessages
from virt.handler.net.model import FunctionState

MAC = "02:00:00:00:00:01"


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def info(number: int, mac: str = MAC, **words: tuple[int, int]) -> bytes:
    """IFLA_VF_INFO; ``words``: attribute and value."""
    parts = [attribute(1, struct.pack("=I32s", number, bytes.fromhex(mac.replace(":", ""))))]
    parts += [attribute(kind, struct.pack("=II", number, value)) for kind, value in words.values()]
    return b"".join(parts)


def link(*infos: bytes) -> bytes:
    """A link's body: the fixed part, its name, the list."""
    listed = attribute(22, b"".join(attribute(1, each) for each in infos))
    return struct.pack("=BxHiII", 0, 1, 7, 0, 0) + attribute(3, b"pf1\0") + listed


def test_functions_are_read() -> None:
    vlan = attribute(2, struct.pack("=III", 1, 100, 3))
    body = link(info(0), info(1, trust=(9, 1), spoof=(4, 0), state=(5, 2)) + vlan)
    assert vfmessages.functions(body) == {
        0: FunctionState(mac=MAC),
        1: FunctionState(mac=MAC, vlan=100, qos=3, spoof_check=False, trusted=True, link_state="disable"),
    }
    assert vfmessages.functions(struct.pack("=BxHiII", 0, 1, 7, 0, 0)) == {}


def test_a_driver_may_leave_things_out_or_not_know_them() -> None:
    body = link(info(1, spoof=(4, 0xFFFFFFFF), state=(5, 7), rate=(3, 9)))
    assert vfmessages.functions(body) == {1: FunctionState(mac=MAC)}


def test_a_list_that_ends_in_the_middle_ends_there() -> None:
    assert vfmessages.functions(link(info(0)) + b"\x02\x00\x16\x00") == {0: FunctionState(mac=MAC)}


@pytest.mark.parametrize(("change", "kind", "data"), [
    ({"mac": MAC}, 1, bytes.fromhex("020000000001") + bytes(26)),
    ({"vlan": {"vlan": 100, "qos": 3}}, 2, struct.pack("=II", 100, 3)),
    ({"spoofchk": 0}, 4, struct.pack("=I", 0)),
    ({"link_state": 2}, 5, struct.pack("=I", 2)),
    ({"trust": 1}, 9, struct.pack("=I", 1)),
])  # fmt: skip
def test_one_thing_is_set(change: dict[str, object], kind: int, data: bytes) -> None:
    one = attribute(kind, struct.pack("=I", 5) + data)
    body = struct.pack("=BxHiII", 0, 0, 7, 0, 0) + attribute(0x8000 | 22, attribute(0x8000 | 1, one))
    assert vfmessages.set_request(7, 5, change) == struct.pack("=IHHII", 16 + len(body), 19, 5, 1, 0) + body


def test_what_the_kernel_answers() -> None:
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 9) + body

    assert vfmessages.answered(message(16, b"body") + b"next") == b"body"
    assert vfmessages.answered(message(2, struct.pack("=i", 0))) == b""
    with pytest.raises(OSError, match="Operation not permitted"):
        vfmessages.answered(message(2, struct.pack("=i", -1)))
    with pytest.raises(OSError, match="has 20 bytes, 18 came"):
        vfmessages.answered(message(16, b"body")[:18])
