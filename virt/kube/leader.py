"""Leader election by a Lease, with Kubernetes' usual numbers: 15 s lease, 10 s to renew it, a try every 2 s.

Clocks of different machines are never compared: a lease has expired when *this* process has seen it unchanged for its
whole duration. A leader that cannot renew within the renew deadline stops, five seconds before another may start.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from virt.api import core
from virt.api.kinds import LEASE
from virt.base import log
from virt.base.clock import Clock, RealClock, rfc3339_micro
from virt.base.errors import VirtError
from virt.kube.client import ApiError, Client, ConflictError, MergePatch, NotFoundError

DURATION_S = 15
RENEW_DEADLINE_S = 10.0
RETRY_S = 2.0

_logger = log.get("virt.kube.leader")


class LeaseLostError(VirtError):
    """Another process leads, or may lead soon. The only safe answer is to end this process."""

    reference = "lease-lost"


@dataclass(frozen=True)
class Observed:
    """What the lease looked like, and when (monotonic seconds) it was first seen to look like that."""

    version: str
    at: float


def is_free(spec: core.LeaseSpec, identity: str, observed_at: float, now: float) -> bool:
    """Whether ``identity`` may take the lease. Times are this process's monotonic seconds.

    Free: nobody holds it, we hold it (a restarted container has its pod's name), or its holder has not renewed it
    for the whole duration while we watched.
    """
    holder = spec.holder_identity or ""
    return holder in ("", identity) or now >= observed_at + (spec.lease_duration_seconds or DURATION_S)


class Elector:
    """``identity`` is the pod's name: unique among live processes, and the same after a restart of the container."""

    def __init__(
        self, client: Client, *, namespace: str, name: str, identity: str, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock or RealClock()
        self._observed: Observed | None = None
        self.is_leader = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then run ``lead`` while renewing it.

        Raises :class:`LeaseLostError` when the lease was lost, and whatever ``lead`` raises. When cancelled, ``lead``
        is ended first, then the lease is given back so that the next process need not wait for it to expire.
        """
        asked = self._clock.monotonic()
        while not await self._held_within(RENEW_DEADLINE_S):
            await self._clock.sleep(RETRY_S)
            asked = self._clock.monotonic()
        self.is_leader = True
        _logger.info("leading", lease=self._name, identity=self._identity)

        async def leading() -> None:
            await lead()
            renewing.cancel()

        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(asked), name=f"renew {self._name}")
                group.create_task(leading(), name=f"lead {self._name}")
        finally:
            self.is_leader = False
            await asyncio.shield(self._release())

    async def _renew(self, renewed: float) -> None:
        """``renewed``: when the lease was asked for. From then on its time runs, however late the answer came."""
        while True:
            await self._clock.sleep(RETRY_S)
            left = renewed + RENEW_DEADLINE_S - self._clock.monotonic()
            if left <= 0:
                raise LeaseLostError(f"lease {self._name} could not be renewed for {RENEW_DEADLINE_S:.0f} s")
            started = self._clock.monotonic()
            if await self._held_within(left):
                renewed = started
            elif self._observed is not None:
                _logger.warning("lease not renewed", lease=self._name)

    async def _held_within(self, seconds: float) -> bool:
        """Take or renew the lease. An answer that comes later is no answer: the lease may be another's by then."""
        try:
            async with asyncio.timeout(seconds):
                return await self._try_once()
        except TimeoutError:
            return False

    async def _try_once(self) -> bool:
        """Take or renew the lease; False when another holds it or the API server cannot be asked."""
        try:
            lease = await self._client.get(LEASE, self._name, self._namespace)
        except NotFoundError:
            return await self._create()
        except ApiError as error:
            _logger.warning("lease not read", lease=self._name, error=str(error))
            return False
        if self._observed is None or self._observed.version != lease.metadata.resource_version:
            self._observed = Observed(lease.metadata.resource_version, self._clock.monotonic())
        if not is_free(lease.spec, self._identity, self._observed.at, self._clock.monotonic()):
            return False
        now = rfc3339_micro(self._clock.now())
        spec: dict[str, object] = {
            "holderIdentity": self._identity, "leaseDurationSeconds": DURATION_S, "renewTime": now,
        }
        if lease.spec.holder_identity != self._identity:
            spec |= {"acquireTime": now, "leaseTransitions": (lease.spec.lease_transitions or 0) + 1}
        return await self._write(lease.metadata.resource_version, spec)

    async def _create(self) -> bool:
        now = rfc3339_micro(self._clock.now())
        lease = core.Lease(
            metadata=core.ObjectMeta(name=self._name, namespace=self._namespace),
            spec=core.LeaseSpec(
                holder_identity=self._identity, lease_duration_seconds=DURATION_S, acquire_time=now, renew_time=now,
                lease_transitions=0,
            ),
        )
        try:
            await self._client.create(LEASE, lease, self._namespace)
        except ApiError as error:
            if not isinstance(error, ConflictError):
                _logger.warning("lease not created", lease=self._name, error=str(error))
            return False
        return True

    async def _write(self, version: str, spec: dict[str, object]) -> bool:
        patch = MergePatch({"metadata": {"resourceVersion": version}, "spec": spec})
        try:
            lease = await self._client.patch(LEASE, self._name, patch, namespace=self._namespace)
        except ConflictError:
            return False
        except ApiError as error:
            _logger.warning("lease not written", lease=self._name, error=str(error))
            return False
        self._observed = Observed(lease.metadata.resource_version, self._clock.monotonic())
        return True

    async def _release(self) -> None:
        try:
            lease = await self._client.get(LEASE, self._name, self._namespace)
        except ApiError as error:
            _logger.warning("lease not released", lease=self._name, error=str(error))
            return
        if lease.spec.holder_identity == self._identity:
            released = await self._write(
                lease.metadata.resource_version, {"holderIdentity": "", "leaseDurationSeconds": 1}
            )
            _logger.info("lease released" if released else "lease not released", lease=self._name)
