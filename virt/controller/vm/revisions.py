"""Whether a VM still is what its running VMI was made from, by the revision stored at its start."""

from collections import OrderedDict
from typing import Final

import msgspec

from virt.api import codec, v1
from virt.api.kinds import CONTROLLER_REVISION
from virt.api.volumechange import claims, with_claims
from virt.controller.vm import hotplug
from virt.controller.vm.claimchange import NOT_LIVE
from virt.kube.client import Client, NotFoundError

_KEPT: Final = 1024


class Revisions:
    """Reads revisions; they never change, so each is asked for once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: OrderedDict[tuple[str, str], v1.VirtualMachineSpec | None] = OrderedDict()

    async def started_with(self, vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineSpec | None:
        """The VM's spec at the VMI's start, None when it is not known."""
        name, namespace = vmi.status.virtual_machine_revision_name, vmi.metadata.namespace
        if not name:
            return None
        if (namespace, name) not in self._known:
            self._known[(namespace, name)] = await self._read(name, namespace)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[(namespace, name)]

    async def _read(self, name: str, namespace: str) -> v1.VirtualMachineSpec | None:
        try:
            revision = await self._client.get(CONTROLLER_REVISION, name, namespace)
            return codec.from_json(dict(revision.data).get("spec"), v1.VirtualMachineSpec)
        except (NotFoundError, msgspec.ValidationError):
            return None


def needs_restart(
    then: v1.VirtualMachineSpec | None, now: v1.VirtualMachineSpec, live: v1.VirtualMachineInstanceSpec, *,
    is_live: bool,
) -> str:
    """Why the present template needs a restart, "" when it does not. ``live``: of the VMI; ``is_live``: a running guest
    may be changed. Claims that changed are looked at elsewhere: virt.controller.vm.claimchange."""
    if then is None or then.template is None or now.template is None:
        return ""
    before, after = with_claims(then.template.spec, claims(now.template.spec)), now.template.spec
    return NOT_LIVE if (hotplug.needs_restart(before, after, live) if is_live else before != after) else ""


def same_template(
    then: v1.VirtualMachineSpec | None, now: v1.VirtualMachineSpec, live: v1.VirtualMachineInstanceSpec
) -> bool:
    """Whether the guest, whose VMI is now ``live``, is what the template describes. Its claims may have been changed
    since its start."""
    if then is None or then.template is None or now.template is None:
        return False
    asked = claims(now.template.spec)
    before = with_claims(then.template.spec, asked)
    return asked == claims(live) and hotplug.is_plugged(now.template.spec, live) and not hotplug.needs_restart(
        before, now.template.spec, live) and then.template.metadata == now.template.metadata
