"""The operator's objects as they exist in the cluster, kept up to date, and the writes to them."""

from collections.abc import Sequence
from typing import Any

from virt.api import core
from virt.api.kinds import KUBEVIRT, NODE, POD, Kind
from virt.base import log
from virt.kube.client import Client, ConflictError, DeleteOptions, JsonPatch, NotFoundError, Selector
from virt.kube.informer import Informer
from virt.kube.objects import key_for
from virt.operator import drift, settings, stamps
from virt.operator.resources import CONFIG_MAP, EVERYWHERE, OWNED, Json, Wanted
from virt.operator.uninstall import Removal

_logger = log.get("virt.operator.world")
_MANAGED = Selector(labels=stamps.MANAGED_SELECTOR)


class World:
    """One informer for each kind; run them all (:attr:`informers`) before use. Reads come from memory."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.kubevirts = Informer(client, KUBEVIRT)
        self.nodes = Informer(client, NODE)
        self._settings = Informer(
            client, CONFIG_MAP, namespace=namespace, selector=Selector(fields=f"metadata.name={settings.CONFIG_MAP}")
        )
        self._pods = Informer(client, POD, namespace=namespace, selector=_MANAGED)
        self.owned: dict[Kind[Json], Informer[Json]] = {
            kind: Informer(
                client, kind, namespace=namespace if kind.namespaced and kind not in EVERYWHERE else None,
                selector=_MANAGED,
            )
            for kind in OWNED
        }
        # Version of an object and digest of the document that it was found equal to: comparing a CRD takes a while.
        self._verified: dict[tuple[str, str], tuple[str, str]] = {}

    @property
    def informers(self) -> dict[str, Informer[Any]]:
        return {
            KUBEVIRT.plural: self.kubevirts, NODE.plural: self.nodes, POD.plural: self._pods,
            settings.CONFIG_MAP: self._settings,
            **{kind.plural: informer for kind, informer in self.owned.items()},
        }

    @property
    def settings(self) -> Json | None:
        """The ConfigMap of :mod:`virt.operator.settings`."""
        return self._settings.store.get(key_for(self.namespace, settings.CONFIG_MAP))

    @property
    def pods(self) -> Sequence[core.Pod]:
        return tuple(self._pods.store)

    def find(self, kind: Kind[Json], key: str) -> Json | None:
        return self.owned[kind].store.get(key)

    def existing(self, kind: Kind[Json]) -> Sequence[Json]:
        return tuple(self.owned[kind].store)

    def is_current(self, wanted: Wanted, recorded_generation: int) -> bool:
        """Whether ``wanted`` exists as it should be; ``recorded_generation`` as in :func:`drift.is_current`."""
        existing = self.find(wanted.kind, wanted.key)
        if existing is None:
            return False
        mark = (existing["metadata"]["resourceVersion"], wanted.digest)
        if self._verified.get((wanted.kind.plural, wanted.key)) == mark:
            return True
        if not drift.is_current(existing, wanted, recorded_generation):
            return False
        self._verified[wanted.kind.plural, wanted.key] = mark
        return True

    async def put(self, wanted: Wanted) -> Json:
        """Create or repair an object; returns it as it is then."""
        existing = self.find(wanted.kind, wanted.key)
        if existing is None:
            try:
                made = await self.client.create(wanted.kind, wanted.document, wanted.namespace)
                _logger.info("created", object=str(wanted))
                return self._learnt(wanted, made)
            except ConflictError:       # it exists without our labels, or the cache is behind
                existing = await self.client.get(wanted.kind, wanted.name, wanted.namespace)
        patch = JsonPatch(drift.repair(existing, wanted))
        made = await self.client.patch(wanted.kind, wanted.name, patch, namespace=wanted.namespace)
        _logger.info("updated", object=str(wanted))
        return self._learnt(wanted, made)

    def _learnt(self, wanted: Wanted, made: Json) -> Json:
        self.owned[wanted.kind].learn(made)
        # Whatever the server made of it counts as what we wanted: it may write some values in another form.
        self._verified[wanted.kind.plural, wanted.key] = (made["metadata"]["resourceVersion"], wanted.digest)
        return made

    async def remove(self, removal: Removal) -> None:
        """Patch and delete as the plan says; what is gone already is no error."""
        namespace = removal.namespace or None
        if removal.patch is not None:
            try:
                await self.client.patch(removal.kind, removal.name, removal.patch, namespace=namespace)
            except NotFoundError:
                return
        if removal.delete:
            options = DeleteOptions(grace_period_s=0, propagation="Background")
            await self.client.delete(removal.kind, removal.name, namespace, options)
        _logger.info(
            "deleted" if removal.delete else "released",
            object=f"{removal.kind.name} {key_for(removal.namespace, removal.name)}",
        )


