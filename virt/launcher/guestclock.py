"""The clock of a guest that came from another node: it is late by as long as the guest stood still."""

import asyncio

from virt.base import log
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import HypervisorError
from virt.rpc.messages import DomainState

TRIES, EVERY_S = 120, 2.0       # an agent may take a while before it answers, or the guest is paused
_logger = log.get("virt.launcher.clock")


async def set_clock(guest: Guest) -> None:
    """As soon as the guest's agent answers. Without one the clock is its user's business."""
    for _ in range(TRIES):
        if guest.ended.is_set():
            return
        if guest.status.agent_connected and guest.status.state is DomainState.RUNNING:
            try:
                await guest.hypervisor.set_guest_time(guest.name)
            except HypervisorError as error:
                _logger.info("the guest's clock is not set yet", error=str(error))
            else:
                return
        await asyncio.sleep(EVERY_S)
