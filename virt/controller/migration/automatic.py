"""Migrations that the control plane itself asks for, and what people read of that."""

from virt.api import v1
from virt.api.kinds import VMIM
from virt.controller.migration.controller import Migration
from virt.kube.client import ApiError, Client
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer


class Automatic:
    """Makes them. Each is known to ``migrations`` at once, so that the next look does not make a second one."""

    def __init__(self, client: Client, migrations: Informer[Migration], recorder: EventRecorder) -> None:
        self._client = client
        self._migrations = migrations
        self._recorder = recorder

    async def migrate(self, vmi: v1.VirtualMachineInstance, migration: Migration, why: str) -> None:
        """Raises ApiError."""
        try:
            created = await self._client.create(VMIM, migration, vmi.metadata.namespace)
        except ApiError as error:
            self._recorder.event(vmi, "Warning", "FailedCreate", f"Error creating a Migration: {error.message}")
            raise
        self._migrations.learn(created)
        self._recorder.event(vmi, "Normal", "SuccessfulCreate", f"Created Migration {created.metadata.name} {why}")
