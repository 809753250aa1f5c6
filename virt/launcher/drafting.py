"""``python3 -m virt.launcher.drafting``: one Order as JSON on standard input, one Draft or Refusal on standard output.

Level-triggered, like every part of the start: disks that exist are kept, so a failed start can be drafted again.
"""

import asyncio
import sys
from dataclasses import replace

import msgspec

from virt.api import codec
from virt.api.v1 import VirtualMachineInstance
from virt.base.exec import RunError
from virt.launcher import design, domain
from virt.launcher.design import DesignError, Prepared, tags
from virt.launcher.disks.errors import DiskError
from virt.launcher.disks.prepare import Disks
from virt.launcher.domain import DomainXmlError
from virt.launcher.draft import Draft, Order, Refusal
from virt.rpc.messages import DiskTarget


async def drafted(order: Order, disks: Disks) -> Draft | Refusal:
    """The disks are made ready on the way."""
    try:
        vmi = codec.decode(order.sync.vmi, VirtualMachineInstance)
        if order.plug:
            return await _plugged(order, vmi, disks)
        awaited, vmi = vmi, disks.at_start(vmi)
        sources, boot = await disks.prepare(vmi), disks.boot(vmi)
        prepared = Prepared(
            disks=sources, kernel=boot.kernel, initrd=boot.initrd, interfaces=order.sync.interfaces,
            functions=order.sync.functions, devices=order.devices, awaited=design.virtio_disks(awaited, vmi))
        designed = design.domain_for(vmi, order.sync.facts, prepared)
        functions = design.by_interface(designed)
        if order.placed:
            placed = domain.from_xml(order.placed)
            tagged = tags.devices(vmi, designed, placed, order.sync.functions)
            # One that leaves and comes back is where the guest was told.
            functions = {**functions, **design.by_interface(placed)}
            sources = await replace(disks, tagged=tagged).prepare(vmi)
        return Draft(
            order.placed or domain.to_xml(designed),
            tuple(
                DiskTarget(
                    volume=each.volume, target=each.target, size=sources[each.volume].size,
                    short_of=sources[each.volume].short_of,
                )
                for each in design.disk_targets(vmi) if each.volume in sources
            ),
            {name: domain.host_device_xml(device) for name, device in functions.items()},
            tells_places=not order.placed and tags.are_told(vmi),
        )  # fmt: skip
    except msgspec.MsgspecError as error:
        return Refusal("InvalidSpec", f"the VMI cannot be read: {error}")
    except DiskError as error:
        return Refusal(error.code, str(error))
    except (DesignError, DomainXmlError) as error:
        return Refusal("InvalidSpec", str(error))
    except RunError as error:
        return Refusal("Internal", str(error))


async def _plugged(order: Order, vmi: VirtualMachineInstance, disks: Disks) -> Draft:
    """One more disk for a guest that runs."""
    sources = await disks.prepare(vmi, (order.plug,))
    disk = design.plugged_disk(vmi, order.sync.facts, Prepared(disks=sources), order.plug, order.taken)
    target = DiskTarget(
        volume=order.plug, target=disk.target, size=sources[order.plug].size, short_of=sources[order.plug].short_of)
    return Draft(domain.disk_xml(disk), (target,))


def main() -> int:
    text = sys.stdin.buffer.read()
    if not text:
        return 0                        # the launcher ended before it needed a draft
    order = msgspec.json.decode(text, type=Order)
    sys.stdout.buffer.write(codec.encode(asyncio.run(drafted(order, Disks(containers=order.files)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
