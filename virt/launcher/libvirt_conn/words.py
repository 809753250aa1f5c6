"""libvirt's numbers as the words of :class:`virt.rpc.messages.DomainStatus`. The numbers are libvirt's ABI
(include/libvirt/libvirt-domain.h), so they are written here and no import of the library is needed."""

import re
from collections.abc import Mapping

from virt.launcher.alias import ALIAS_PREFIX
from virt.rpc.messages import DomainState

_STATES: Mapping[int, DomainState] = {
    0: DomainState.NONE,
    1: DomainState.RUNNING,
    2: DomainState.RUNNING,          # blocked: waits for a resource, of no meaning with QEMU
    3: DomainState.PAUSED,
    4: DomainState.SHUTDOWN,
    5: DomainState.SHUTOFF,
    6: DomainState.CRASHED,
    7: DomainState.RUNNING,          # suspended by the guest's power management: it wakes by itself
}
# Of a guest that runs only these matter: what is missing of its memory comes from the other side, or cannot.
_RUNNING = {10: "Postcopy", 11: "PostcopyFailed"}
_PAUSED = (
    "Unknown", "User", "Migration", "Save", "Dump", "IOError", "Watchdog", "FromSnapshot", "ShuttingDown", "Snapshot",
    "Crashed", "StartingUp", "Postcopy", "PostcopyFailed", "APIError",
)  # fmt: skip
_SHUTOFF = (
    "Unknown", "Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "FromSnapshot", "Daemon",
)  # fmt: skip
_CRASHED = ("Unknown", "Panicked")
_REASONS: Mapping[DomainState, tuple[str, ...]] = {
    DomainState.PAUSED: _PAUSED,
    DomainState.SHUTOFF: _SHUTOFF,
    DomainState.CRASHED: _CRASHED,
}


def state_and_reason(state: int, reason: int) -> tuple[DomainState, str]:
    """Unknown numbers of a newer libvirt become NONE and "Unknown".

    >>> state_and_reason(5, 1)
    (<DomainState.SHUTOFF: 'Shutoff'>, 'Shutdown')
    """
    known = _STATES.get(state, DomainState.NONE)
    if known is DomainState.RUNNING:
        return known, _RUNNING.get(reason, "") if state == 1 else ""
    words = _REASONS.get(known, ())
    if not words:
        return known, ""
    return known, words[reason] if 0 <= reason < len(words) else "Unknown"


def machine_and_accelerator(xml: str) -> tuple[str, str]:
    """What a live domain's document says of both: libvirt has resolved the machine type's alias by then.

    Two values are no reason to load an XML parser into a process that lives as long as the guest. The document is
    libvirt's own, and no text of the user's can look like markup in it.

    >>> machine_and_accelerator("<domain type='qemu' id='1'><os><type machine='pc-q35-10.0'>hvm</type></os>")
    ('pc-q35-10.0', 'tcg')
    """
    machine = re.search(r"<type\b[^<>]*\bmachine=['\"]([^'\"]*)", xml)
    kind = re.match(r"\s*<domain\b[^<>]*\btype=['\"](\w+)", xml)
    return machine[1] if machine else "", "kvm" if kind and kind[1] == "kvm" else "tcg"


def agent_is_connected(xml: str) -> bool:
    """Whether the guest holds the agent's channel open, as a live domain's document says.

    >>> agent_is_connected("<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>")
    True
    """
    target = re.search(r"<target\b[^<>]*\bname=['\"]org\.qemu\.guest_agent\.0['\"][^<>]*", xml)
    return target is not None and re.search(r"\bstate=['\"]connected['\"]", target[0]) is not None


def device_names(xml: str) -> frozenset[str]:
    """Names of the devices from the spec that a live domain has (see virt.launcher.alias).

    >>> sorted(device_names("<disk><alias name='ua-root'/></disk><rng><alias name='rng0'/></rng>"))
    ['root']
    """
    return frozenset(re.findall(rf"<alias name=['\"]{ALIAS_PREFIX}([^'\"]+)['\"]/>", xml))


def disk_targets(xml: str) -> dict[str, str]:
    """The disks from the spec that a live domain has: their names, and those that libvirt uses.

    >>> disk_targets("<disk type='file'><target dev='vda' bus='virtio'/><alias name='ua-root'/></disk>")
    {'root': 'vda'}
    """
    found = {}
    for text in re.findall(r"<disk\b.*?</disk>", xml, re.DOTALL):
        name = re.search(rf"<alias name=['\"]{ALIAS_PREFIX}([^'\"]+)['\"]/>", text)
        target = re.search(r"<target\b[^<>]*\bdev=['\"]([^'\"]+)", text)
        if name and target:
            found[name[1]] = target[1]
    return found
