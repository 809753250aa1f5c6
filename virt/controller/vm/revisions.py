"""What a VM was like when its running VMI was made: read from the revision that was stored then."""

from collections import OrderedDict
from typing import Final

import msgspec

from virt.api import codec, v1
from virt.api.kinds import CONTROLLER_REVISION
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
