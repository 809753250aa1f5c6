"""The node's side of secondary networks: bridges, and the cards that join pods to them, by netlink.

To be called inside the node's network namespace (``netns.on_node``). A card is a veth pair. It appears in its pod in
the very last step, so a handler that died before finds a pod without it and starts over; both ends go with the pod.
"""

import re
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virt.handler.net.attachment import AttachmentError, Card
from virt.handler.net.links import index_of, seal

# The mark on bridges that were made here. Others are an administrator's, and stay.
MARK: Final = "virt-handler"
_DEFAULT_MTU: Final = 1500
_WAITING = re.compile(r"vpod[0-9a-f]{11}")


def prepare(card: Card) -> None:
    """The node's bridge, made where it is missing, and the pair: one end its port, the other called as ``_waiting``.

    Raises AttachmentError.
    """
    wanted = card.attachment
    with IPRoute() as netlink:
        try:
            bridge = _bridge(netlink, wanted.bridge, wanted.mtu)
            mtu = wanted.mtu or next(iter(netlink.get_links(bridge))).get("mtu")
            if before := index_of(netlink, card.peer):
                netlink.link("del", index=before)                       # of a handler that died here
            netlink.link("add", ifname=card.peer, kind="veth", mtu=mtu,
                         peer={"ifname": _waiting(card), "address": card.mac, "mtu": mtu})
            netlink.link("set", index=index_of(netlink, card.peer), master=bridge, state="up")
        except (NetlinkError, OSError) as error:
            raise AttachmentError(
                f"the node cannot attach a card to bridge {wanted.bridge} (mtu {wanted.mtu or 'not given'}): {error}"
            ) from error


def hand_over(card: Card, pod_netns: int) -> None:
    """Move the card into the pod, where it stays down until its binding takes it: no frame with the guest's MAC may
    leave from here while the guest still runs elsewhere. Raises AttachmentError."""
    with IPRoute() as netlink:
        try:
            netlink.link("set", index=index_of(netlink, _waiting(card)), net_ns_fd=pod_netns, ifname=card.name)
        except (NetlinkError, OSError) as error:
            raise AttachmentError(f"the card {card.name} cannot be given to its pod: {error}") from error


def sweep() -> int:
    """Remove cards that no pod was given, then bridges of our making that have no port; returns how many stay.

    Not while a card is attached. Raises AttachmentError.
    """
    try:
        return _sweep()
    except NetlinkError as error:
        raise AttachmentError(f"bridges and cards that are not used cannot be removed: {error}") from error


def _sweep() -> int:
    with IPRoute() as netlink:
        for link in netlink.get_links(kind="veth"):
            if _WAITING.fullmatch(link.get("ifname")):
                netlink.link("del", index=link["index"])
        links = list(netlink.get_links())
        used = {link.get("master") for link in links}
        ours = [link for link in links
                if link.get(("linkinfo", "kind")) == "bridge" and link.get("ifalias") == MARK]
        for link in ours:
            if link["index"] not in used:
                netlink.link("del", index=link["index"])
        return sum(link["index"] in used for link in ours)


def _bridge(netlink: IPRoute, name: str, mtu: int) -> int:
    index = index_of(netlink, name)
    if index is None:
        netlink.link("add", ifname=name, kind="bridge", br_mcast_snooping=0, mtu=mtu or _DEFAULT_MTU)
        index = index_of(netlink, name)
        netlink.link("set", index=index, ifalias=MARK)
        seal(name)
        netlink.link("set", index=index, state="up")
        assert index is not None
        return index
    kind = next(iter(netlink.get_links(index))).get(("linkinfo", "kind"))
    if kind != "bridge":
        raise AttachmentError(f"link {name} of the node is no bridge but {kind or 'a network card'}")
    return index


def _waiting(card: Card) -> str:
    """Name of the pod's end until the pod has it."""
    return f"vpod{card.peer.removeprefix('veth')}"
