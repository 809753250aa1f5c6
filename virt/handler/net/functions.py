"""Virtual functions of a network card, read and set through the card by netlink.

To be called inside the node's network namespace (``netns.inside``), where the card is.
"""

import socket
from collections.abc import Mapping
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virt.base.errors import VirtError
from virt.handler.net.model import LINK_STATES, NEUTRAL, FunctionState

_WITH_FUNCTIONS = 1                     # RTEXT_FILTER_VF


class CardError(VirtError):
    """A network card does not let its functions be read or set so."""

    reference = "network-card"
    hint = "look at the node's kernel log (dmesg) and at `ip link show` of the card"


def read(card: str) -> Mapping[int, FunctionState]:
    """All functions of ``card`` by their number. Raises CardError."""
    with IPRoute() as netlink:
        try:
            link = next(iter(netlink.link("get", index=_index(card), ext_mask=_WITH_FUNCTIONS)))
        except (NetlinkError, OSError) as error:
            raise CardError(f"the functions of network card {card} cannot be read: {error}") from error
        listed = link.get_attr("IFLA_VFINFO_LIST")
        found = {}
        for info in listed.get_attrs("IFLA_VF_INFO") if listed is not None else ():
            found[int(info.get_attr("IFLA_VF_MAC")["vf"])] = _state(info)
        return found


def change(card: str, number: int, wanted: FunctionState, known: FunctionState) -> None:
    """Make a function ``wanted``; what it is already (``known``) is not touched: not every card can set everything.

    Raises CardError.
    """
    changes = changed(wanted, known)
    if not changes:
        return
    with IPRoute() as netlink:
        index = _index(card)
        for one in changes:                 # one at a time: the error is about one thing
            try:
                netlink.link("set", index=index, vf={"vf": number, **one})
            except (NetlinkError, OSError) as error:
                raise CardError(f"network card {card} does not set {one} of its function {number}: {error}") from error


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


def _state(info: Any) -> FunctionState:
    """Drivers leave out what they do not have, or say all ones."""
    vlan, link_state = info.get_attr("IFLA_VF_VLAN"), info.get_attr("IFLA_VF_LINK_STATE")
    state = link_state["link_state"] if link_state is not None else 0
    return FunctionState(
        mac=info.get_attr("IFLA_VF_MAC")["mac"],
        vlan=vlan["vlan"] if vlan is not None else 0,
        qos=vlan["qos"] if vlan is not None else 0,
        spoof_check=_switch(info.get_attr("IFLA_VF_SPOOFCHK"), "spoofchk", NEUTRAL.spoof_check),
        trusted=_switch(info.get_attr("IFLA_VF_TRUST"), "trust", NEUTRAL.trusted),
        link_state=LINK_STATES[state] if state < len(LINK_STATES) else NEUTRAL.link_state,
    )


def _switch(attribute: Any, name: str, unknown: bool) -> bool:
    value = attribute[name] if attribute is not None else None
    return bool(value) if value in (0, 1) else unknown


def _index(card: str) -> int:
    try:
        return socket.if_nametoindex(card)
    except OSError as error:
        raise CardError(f"the network card {card} is not in the node's network namespace: {error}") from error
