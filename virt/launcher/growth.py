"""What a running guest is given: processors that are plugged, memory that it is offered by a virtio-mem device.

Level-triggered: what it has already is not given again. The device is put in at the first offer, so that a guest that
never gets memory pays nothing for it, and changed by every further one.
"""

from virt.launcher.alias import alias
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import words
from virt.rpc.messages import DomainStatus, SetMemory, SetVcpus

BLOCK = 2 << 20                         # what the guest takes and gives back at a time: a transparent huge page
_ALIAS = alias("added_memory")          # no name of a spec has an underscore


async def plug_vcpus(guest: Guest, request: SetVcpus) -> DomainStatus:
    """Raises HypervisorError."""
    await guest.hypervisor.set_vcpus(guest.name, request.count)
    return await guest.refresh()


async def offer_memory(guest: Guest, request: SetMemory) -> DomainStatus:
    """The guest takes it by and by. Raises HypervisorError."""
    device = device_xml(request)
    is_there = words.memory_added(await guest.hypervisor.describe(guest.name)) is not None
    if is_there:
        await guest.hypervisor.update_device(guest.name, device)
    elif request.size > request.at_boot:
        await guest.hypervisor.attach_device(guest.name, device)
    await guest.learn_memory(words.memory_added(await guest.hypervisor.describe(guest.name)))
    return guest.status


def device_xml(request: SetMemory) -> str:
    """libvirt's description of the device. Of numbers alone, so no XML library is loaded for it."""
    return (
        "<memory model='virtio-mem'><target>"
        f"<size unit='b'>{request.ceiling - request.at_boot}</size><node>0</node><block unit='b'>{BLOCK}</block>"
        f"<requested unit='b'>{request.size - request.at_boot}</requested></target>"
        f"<alias name='{_ALIAS}'/></memory>"
    )
