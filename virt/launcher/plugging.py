"""Disks of a guest that runs: those that are to come are attached, those that are to go it is asked for.

Level-triggered: each request names all hot-plugged volumes that the guest is to have. Letting go of a disk is the
guest's own affair and takes its time: libvirt tells of it, the handler hears it and asks again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from virt.base import log
from virt.base.exec import RunError
from virt.launcher.alias import alias
from virt.launcher.disks.errors import DiskError
from virt.launcher.disks.held import HeldClaims
from virt.launcher.draft import Drafts
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import HypervisorError, words
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import DiskTarget, DomainStatus, SyncVmi, SyncVolumes

_logger = log.get("virt.launcher.plugging")


class Plugging:
    """``held``: the claims that this launcher was given."""

    def __init__(self, drafts: Drafts, held: HeldClaims) -> None:
        self._drafts = drafts
        self._held = held
        self._busy = asyncio.Lock()

    async def sync(self, guest: Guest, request: SyncVolumes) -> DomainStatus:
        """Raises HypervisorError when nothing can be seen of the domain; of single disks the status tells."""
        async with self._busy:
            there = words.disk_targets(await guest.hypervisor.describe(guest.name))
            wanted = [volume for volume in request.volumes if volume in self._held.names]
            troubles: dict[str, str] = {}
            plugged: list[DiskTarget] = []
            for volume in self._held.names:
                if volume not in wanted and volume in there:
                    await self._tried(troubles, volume, lambda name=volume: self._ask_for(guest, name))  # type: ignore[misc]
            taken = set(there.values())
            for volume in wanted:
                if volume not in there:
                    await self._tried(
                        troubles, volume,
                        lambda name=volume: self._attach(guest, request, name, taken, plugged))  # type: ignore[misc]
            await guest.see_disks(plugged)
            in_guest = {disk.volume for disk in guest.status.disks}
            for volume in self._held.names:
                if volume not in wanted and volume not in in_guest:
                    self._held.release(volume)
            await guest.learn_volumes(self._held.names, troubles)
            return guest.status

    async def _tried(
        self, troubles: dict[str, str], volume: str, act: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            await act()
        except (HypervisorError, RequestFailed, DiskError, RunError) as error:
            troubles[volume] = str(error)
            _logger.warning("disk", volume=volume, error=str(error))

    async def _attach(
        self, guest: Guest, request: SyncVolumes, volume: str, taken: set[str], plugged: list[DiskTarget]
    ) -> None:
        sync = SyncVmi(vmi=request.vmi, interfaces=(), facts=request.facts)
        draft = await self._drafts.plug(sync, volume, tuple(sorted(taken)))
        await guest.hypervisor.attach_device(guest.name, draft.xml)
        taken.update(disk.target for disk in draft.disks)
        plugged += draft.disks
        _logger.info("disk attached", volume=volume, targets=[disk.target for disk in draft.disks])

    async def _ask_for(self, guest: Guest, volume: str) -> None:
        await guest.hypervisor.detach_device(guest.name, alias(volume))
        _logger.info("disk asked for", volume=volume)
