"""Has the network of a launcher's pod made, and remembers on the launcher's record what came of it."""

from collections.abc import Sequence
from typing import Protocol

from virt.api import names, v1
from virt.handler.launchers.launcher import Launcher
from virt.handler.net.model import GuestNic, PodLink
from virt.handler.net.network import WiredPod
from virt.handler.net.plan import PRIMARY_LINK
from virt.handler.vmi.nics import guest_nics


class Networks(Protocol):
    """:class:`virt.handler.net.network.PodNetworks`."""

    async def wire(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic], hostname: str) -> WiredPod: ...

    async def links(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> dict[str, PodLink]: ...

    def forget(self, pod_uid: str) -> None: ...


async def wire(networks: Networks, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> WiredPod:
    """The caller closes what it gets. Raises as :meth:`virt.handler.net.network.PodNetworks.wire`."""
    nics = guest_nics(vmi)
    hostname = names.hostname(vmi.metadata.name, vmi.spec.hostname)
    pod = await networks.wire(launcher.pod_uid, launcher.process.netns, nics, hostname)
    links = await networks.links(launcher.pod_uid, launcher.process.netns, nics)
    addresses = links[PRIMARY_LINK].addresses if PRIMARY_LINK in links else ()
    launcher.pod_addresses = tuple(address.partition("/")[0] for address in sorted(addresses, key=_ipv4_first))
    launcher.wired = pod.interfaces
    return pod


def _ipv4_first(address: str) -> bool:
    return ":" in address
