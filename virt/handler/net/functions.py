"""Virtual functions of a network card, read and set through the card by netlink.

To be called inside the node's network namespace (``netns.inside``), where the card is.
"""

import socket
from collections.abc import Mapping
from typing import Any

from virt.base.errors import VirtError
from virt.handler.net import vfmessages
from virt.handler.net.model import LINK_STATES, FunctionState

_LONGEST = 1 << 18                      # of an answer; lists of functions end at 64 KiB
_ANSWER_S = 30.0                        # a card may reset itself before it answers


class CardError(VirtError):
    """A network card does not let its functions be read, or be set like this."""

    reference = "network-card"
    hint = "look at the node's kernel log (dmesg) and at `ip link show` of the card"


def read(card: str) -> Mapping[int, FunctionState]:
    """All functions of ``card`` by their number. Raises CardError."""
    index = _index(card)
    try:
        return vfmessages.functions(_asked(vfmessages.read_request(index)))
    except OSError as error:
        raise CardError(f"the functions of network card {card} cannot be read: {error}") from error


def change(card: str, number: int, wanted: FunctionState, known: FunctionState) -> None:
    """Make a function ``wanted``. What it is already (``known``) is not set again: not every card can set everything.

    Raises CardError.
    """
    changes = changed(wanted, known)
    if not changes:
        return
    index = _index(card)
    for one in changes:                     # one at a time: the error is about one thing
        try:
            _asked(vfmessages.set_request(index, number, one))
        except OSError as error:
            raise CardError(f"network card {card} does not set {one} of its function {number}: {error}") from error


def _asked(request: bytes) -> bytes:
    """The kernel's answer. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(_ANSWER_S)
        netlink.bind((0, 0))
        netlink.send(request)
        return vfmessages.answered(netlink.recv(_LONGEST))


def changed(wanted: FunctionState, known: FunctionState) -> tuple[dict[str, Any], ...]:
    """What to set, in netlink's words. A function is trusted last, and its MAC set first."""
    found: list[dict[str, Any]] = []
    if wanted.mac != known.mac:
        found.append({"mac": wanted.mac})
    if (wanted.vlan, wanted.qos) != (known.vlan, known.qos):
        found.append({"vlan": {"vlan": wanted.vlan, "qos": wanted.qos}})
    if wanted.spoof_check != known.spoof_check:
        found.append({"spoofchk": int(wanted.spoof_check)})
    if wanted.link_state != known.link_state:
        found.append({"link_state": LINK_STATES.index(wanted.link_state)})
    if wanted.trusted != known.trusted:
        found.append({"trust": int(wanted.trusted)})
    return tuple(found)


def _index(card: str) -> int:
    try:
        return socket.if_nametoindex(card)
    except OSError as error:
        raise CardError(f"the network card {card} is not in the node's network namespace: {error}") from error
