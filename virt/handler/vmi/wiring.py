"""What is made ready for a guest: the network of its launcher's pod, and devices of the node that it gets."""

from collections.abc import Sequence
from typing import Protocol

from virt.api import names, v1
from virt.handler.launchers.launcher import Launcher
from virt.handler.net.model import GuestNic, PodLink
from virt.handler.net.network import WiredPod
from virt.handler.net.plan import PRIMARY_LINK
from virt.handler.vmi.nics import guest_nics
from virt.rpc.messages import GivenFunction


class Networks(Protocol):
    """:class:`virt.handler.net.network.PodNetworks`."""

    async def wire(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic], hostname: str) -> WiredPod: ...

    async def links(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> dict[str, PodLink]: ...

    def forget(self, pod_uid: str) -> None: ...


class GuestDevices(Protocol):
    """:class:`virt.handler.pci.service.PciDevices`."""

    async def prepare(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> tuple[GivenFunction, ...]: ...

    def reconsider(self) -> None:
        """A guest has ended."""


class NoDevices:
    """:class:`GuestDevices` of a node that has none to give."""

    async def prepare(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> tuple[GivenFunction, ...]:
        return ()

    def reconsider(self) -> None:
        return None


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
