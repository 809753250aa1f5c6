"""Messages of rtnetlink about the virtual functions of a network card, as bytes. Pure.

What is set and read here is a few numbers, again and again: on a slow node pyroute2 took a tenth of a second for each
question, half of it for an event loop of its own. https://docs.kernel.org/userspace-api/netlink/intro.html has the form
of messages, linux/if_link.h that of the attributes.
"""

import os
import struct
from collections.abc import Iterator, Mapping

from virt.handler.net.model import LINK_STATES, NEUTRAL, FunctionState

_HEADER = struct.Struct("=IHHII")           # length, kind, flags, sequence, port
_LINK = struct.Struct("=BxHiII")            # family, type, index, flags, change
_HEAD = struct.Struct("=HH")                # of an attribute: length, type
_ERROR, _GET_LINK, _SET_LINK = 2, 18, 19
_REQUEST, _ACK = 1, 4
_VFINFO_LIST, _EXT_MASK = 22, 29            # IFLA_*
_INFO = 1                                   # IFLA_VF_INFO
_MAC, _VLAN, _SPOOF_CHECK, _LINK_STATE, _TRUST = 1, 2, 4, 5, 9          # IFLA_VF_*
_FUNCTIONS, _NO_STATISTICS = 1, 8           # RTEXT_FILTER_*
_NESTED, _TYPE = 0x8000, 0x3FFF
# What is set, by its name: the attribute, and the form of what follows the function's number.
_FORMS = {"mac": (_MAC, "6s26x"), "vlan": (_VLAN, "II"), "spoofchk": (_SPOOF_CHECK, "I"),
          "link_state": (_LINK_STATE, "I"), "trust": (_TRUST, "I")}


def read_request(index: int) -> bytes:
    """Asks for a link and its functions."""
    return _message(_GET_LINK, _REQUEST, index, _attribute(_EXT_MASK, struct.pack("=I", _FUNCTIONS | _NO_STATISTICS)))


def set_request(index: int, number: int, change: Mapping[str, object]) -> bytes:
    """Sets one thing of function ``number``, as ``functions.changed`` names it; the kernel says how that went."""
    ((name, value),) = change.items()
    kind, form = _FORMS[name]
    words = (
        (bytes.fromhex(str(value).replace(":", "")),) if name == "mac"
        else (value["vlan"], value["qos"]) if isinstance(value, Mapping) else (value,))
    one = _attribute(kind, struct.pack(f"=I{form}", number, *words))
    return _message(
        _SET_LINK, _REQUEST | _ACK, index, _attribute(_VFINFO_LIST | _NESTED, _attribute(_INFO | _NESTED, one)))


def answered(data: bytes) -> bytes:
    """What the kernel's first message says, without its header; b"" for "done". Raises OSError for a refusal."""
    length, kind, *_ = _HEADER.unpack_from(data)
    if length > len(data):
        raise OSError(f"the answer has {length} bytes, {len(data)} came")
    if kind == _ERROR:
        (number,) = struct.unpack_from("=i", data, _HEADER.size)
        if number:
            raise OSError(-number, os.strerror(-number))
        return b""
    return data[_HEADER.size : length]


def functions(body: bytes) -> dict[int, FunctionState]:
    """All functions of the link that an answer to :func:`read_request` tells of, by their number."""
    found = {}
    for kind, listed in _attributes(body[_LINK.size :]):
        if kind == _VFINFO_LIST:
            for _, info in _attributes(listed):
                told = dict(_attributes(info))
                (number,) = struct.unpack_from("=I", told[_MAC])
                found[number] = _state(told)
    return found


def _state(told: Mapping[int, bytes]) -> FunctionState:
    """Drivers leave out what they do not have, or say all ones."""
    _, mac = struct.unpack_from("=I6s", told[_MAC])
    _, vlan, qos = struct.unpack_from("=III", told[_VLAN]) if _VLAN in told else (0, 0, 0)
    state = _word(told, _LINK_STATE)
    return FunctionState(
        mac=mac.hex(":"), vlan=vlan, qos=qos,
        spoof_check=_switch(_word(told, _SPOOF_CHECK), NEUTRAL.spoof_check),
        trusted=_switch(_word(told, _TRUST), NEUTRAL.trusted),
        link_state=LINK_STATES[state] if state is not None and state < len(LINK_STATES) else NEUTRAL.link_state,
    )


def _word(told: Mapping[int, bytes], kind: int) -> int | None:
    return int(struct.unpack_from("=II", told[kind])[1]) if kind in told else None


def _switch(value: int | None, unknown: bool) -> bool:
    return bool(value) if value in (0, 1) else unknown


def _message(kind: int, flags: int, index: int, attributes: bytes) -> bytes:
    body = _LINK.pack(0, 0, index, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return _HEAD.pack(_HEAD.size + len(data), kind) + data + bytes(-len(data) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each, without the flags of its type."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, at)
        if length < _HEAD.size:
            return
        yield kind & _TYPE, data[at + _HEAD.size : at + length]
        at += length + -length % 4
