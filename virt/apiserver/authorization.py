"""May this caller do this? The path says what is asked, kube-apiserver says whether it may be.

The verbs and names of resources are those that KubeVirt's cluster roles use.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from virt.api import codec, core, kinds, names
from virt.apiserver.identity import Identity
from virt.base.clock import Clock
from virt.kube.client import Client

CACHE_S: Final = 2.0           # a right that was taken away works so long at most
CACHED: Final = 1024

_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_ROOT: Final = f"/apis/{names.SUBRESOURCE_GROUP}/"


@dataclass(frozen=True)
class Attributes:
    """``name`` is "" for what belongs to no object (expand-vm-spec)."""

    verb: str
    version: str
    namespace: str
    resource: str
    name: str = ""
    subresource: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def is_guarded(path: str) -> bool:
    """Whether a path needs an identity: all that lie in a namespace do, the rest is discovery, health and webhooks."""
    return path.startswith(_ROOT) and path[len(_ROOT):].partition("/")[2].partition("/")[0] == "namespaces"


def attributes(method: str, raw_path: str) -> Attributes | None:
    """What a request asks for; None for a path that cannot exist. ``raw_path`` is percent-encoded, without a query."""
    parts = [unquote(part) for part in raw_path.removeprefix(_ROOT).split("/")]
    if len(parts) < 4 or parts[1] != "namespaces" or "" in parts:
        return None
    version, _, namespace, resource, *rest = parts
    verb = _VERBS.get(method)
    named = [namespace, resource, *rest[:1]]
    if verb is None or version not in names.SUBRESOURCE_VERSIONS or not all(_NAME.fullmatch(part) for part in named):
        return None
    if not rest:
        return Attributes("list" if verb == "get" else verb, version, namespace, resource)
    # The port is no subresource: a role names portforward, not each port.
    subresource = rest[1:2] if rest[1:2] == ["portforward"] else rest[1:]
    return Attributes(verb, version, namespace, resource, rest[0], "/".join(subresource))


class Authorizer:
    """Asks by SubjectAccessReview. Only permissions are remembered, and only for a moment."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._allowed_until: dict[bytes, float] = {}

    async def allows(self, who: Identity, what: Attributes) -> bool:
        """Raises ApiError when the question could not be put."""
        review = core.SubjectAccessReview(spec=core.SubjectAccessReviewSpec(
            user=who.user, groups=who.groups, extra=who.extra,
            resource_attributes=core.ResourceAttributes(
                namespace=what.namespace, verb=what.verb, group=names.SUBRESOURCE_GROUP, version=what.version,
                resource=what.resource, subresource=what.subresource, name=what.name,
            ),
        ))
        key, now = codec.encode(review.spec), self._clock.monotonic()
        if self._allowed_until.get(key, 0.0) > now:
            return True
        answer = await self._client.create(kinds.SUBJECT_ACCESS_REVIEW, review)
        if not answer.status.allowed or answer.status.denied:
            return False
        if len(self._allowed_until) >= CACHED:
            self._allowed_until.clear()
        self._allowed_until[key] = now + CACHE_S
        return True
