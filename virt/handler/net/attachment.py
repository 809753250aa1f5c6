"""What a NetworkAttachmentDefinition asks for: the configuration of the CNI plugin ``bridge``. Pure.

Only what this node agent does is accepted; a field that it would have to ignore is an error. Where multus runs, the
real plugin has made the card before the launcher starts, and nobody reads the definition here.
https://www.cni.dev/plugins/current/main/bridge/
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virt.api import core
from virt.base.errors import VirtError
from virt.handler.net.addresses import local_mac, plain_mac

_TYPE: Final = "bridge"
_BRIDGE = re.compile(r"(?!\.{1,2}$)[^\s/:%]{1,15}", re.ASCII)     # a name that the kernel takes for a link
_MTUS = range(68, 65536)
# The plugin's own switches that change nothing while they are off, and what to do without.
_NOT_DONE: Final = {
    "vlan": "give each VLAN a bridge of its own",
    "vlanTrunk": "give each VLAN a bridge of its own",
    "ipam": "let the guest be given its address by cloud-init, or by DHCP from a server in the network",
    "isGateway": "put the gateway into the network",
    "isDefaultGateway": "put the gateway into the network",
    "ipMasq": "put the gateway into the network",
    "hairpinMode": "leave it out",
    "promiscMode": "set it on the node's bridge",
    "portIsolation": "leave it out",
    "disableContainerInterface": "leave it out",
}


class AttachmentError(VirtError):
    """A secondary network cannot be attached now."""

    reference = "secondary-network"
    hint = "the message names the definition and what is wrong with it; the VMI is tried again by itself"


@dataclass(frozen=True)
class Attachment:
    """``bridge``: of the node. ``mtu`` 0: that of the bridge. ``spoof_check``: the guest may use no MAC but its own."""

    bridge: str
    mtu: int = 0
    spoof_check: bool = False


@dataclass(frozen=True)
class Card:
    """A card to put into a pod. ``name``, ``mac``: in the pod; ``peer``: its other end, a port of the node's bridge."""

    name: str
    mac: str
    peer: str
    attachment: Attachment


def attachment(definition: core.NetworkAttachmentDefinition, interface: str) -> Attachment:
    """What ``interface`` is to be attached to. Raises AttachmentError.

    A list may hold the plugin ``tuning`` too, as many people's does, as long as that has nothing to tune.
    """
    where = f"{definition.called} of interface {interface}: spec.config"
    try:
        plugins = definition.plugins()
    except ValueError as error:
        raise AttachmentError(f"{where} is no JSON: {error}") from error
    types = [str(each.get("type"))[:40] for each in plugins]
    if types.count(_TYPE) != 1:
        raise AttachmentError(
            f"{where} must have one plugin of type {_TYPE} where multus does not run, but has "
            f"{', '.join(types) or 'none'}")
    for each in plugins:
        if each.get("type") != _TYPE and not (each.get("type") == "tuning" and set(each) <= {"type", "name"}):
            raise AttachmentError(
                f"{where} has a plugin of type {str(each.get('type'))[:40]}, which only multus can run: leave it out")
    config = plugins[types.index(_TYPE)]
    for field, instead in _NOT_DONE.items():
        if config.get(field):
            raise AttachmentError(
                f"{where} {field} {str(config[field])[:60]} is done by multus only: {instead}, or install multus")
    return Attachment(_bridge(where, config), _mtu(where, config), _switch(where, config, "macspoofchk"))


def card(found: Attachment, name: str, mac: str, pod_uid: str) -> Card:
    """``name`` of the card, and its MAC, "" for one of its own: the same for the same card of the same pod."""
    seed = f"{pod_uid}/{name}"
    peer = f"veth{hashlib.sha256(seed.encode()).hexdigest()[:11]}"
    return Card(name, plain_mac(mac) or local_mac(seed), peer, found)


def _bridge(where: str, config: Mapping[str, Any]) -> str:
    name = config.get("bridge", "cni0")         # the plugin's own default
    if not isinstance(name, str) or _BRIDGE.fullmatch(name) is None:
        raise AttachmentError(f"{where} bridge {str(name)[:60]!r} is no name of a link: 1 to 15 characters, no space")
    return name


def _mtu(where: str, config: Mapping[str, Any]) -> int:
    mtu = config.get("mtu", 0)
    if isinstance(mtu, bool) or not isinstance(mtu, int) or (mtu != 0 and mtu not in _MTUS):
        raise AttachmentError(f"{where} mtu {str(mtu)[:60]!r} is no number from {_MTUS[0]} to {_MTUS[-1]}")
    return mtu


def _switch(where: str, config: Mapping[str, Any], field: str) -> bool:
    value = config.get(field, False)
    if not isinstance(value, bool):
        raise AttachmentError(f"{where} {field} {str(value)[:60]!r} is neither true nor false")
    return value
