"""The seam to Kubernetes: what controllers may ask of an API server.

Everything that talks to Kubernetes takes a :class:`Client`; ``virt.kube.lightkube_client`` is the real one and
``tests.fakes.kube`` the fake, and one contract suite runs on both.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from virt.api.kinds import Kind
from virt.base.errors import VirtError

T = TypeVar("T")


class ApiError(VirtError):
    """The API server refused a request.

    ``code`` is the HTTP status, ``reason`` the Status object's reason ("NotFound", "Conflict", "AlreadyExists",
    "Invalid", "Expired" ...), ``message`` its text.
    """

    reference = "kubernetes-api-error"

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """404."""


class ConflictError(ApiError):
    """409: a lost race, or the object exists already."""


class ExpiredError(ApiError):
    """410: the resource version is too old; list again."""


@dataclass(frozen=True)
class JsonPatch:
    """RFC 6902. A failed ``test`` operation answers ConflictError or ApiError 422."""

    operations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class MergePatch:
    """RFC 7386. Put metadata.resourceVersion into it to make it fail on a lost race."""

    document: Mapping[str, Any]


@dataclass(frozen=True)
class ApplyPatch:
    """Server-side apply of a whole document, forced, by the field manager ``manager``."""

    document: Mapping[str, Any]
    manager: str = "virt-operator"


Patch = JsonPatch | MergePatch | ApplyPatch


@dataclass(frozen=True)
class Listing(Generic[T]):
    items: tuple[T, ...]
    resource_version: str


@dataclass(frozen=True)
class Event(Generic[T]):
    """One watch event. BOOKMARK carries an object with nothing but its resource version."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    obj: T
    resource_version: str


@dataclass(frozen=True)
class DeleteOptions:
    """``uid`` makes the deletion fail (409) when the name belongs to another object by now."""

    grace_period_s: int | None = None
    propagation: Literal["Background", "Foreground", "Orphan"] | None = None
    uid: str | None = None


@dataclass(frozen=True)
class Selector:
    """Label and field selectors as Kubernetes writes them, for example ``labels="kubevirt.io=virt-launcher"``."""

    labels: str = ""
    fields: str = ""


ALL = Selector()
DEFAULT_DELETE = DeleteOptions()


class Client(Protocol):
    """Objects are instances of ``kind.type`` (frozen msgspec structs), or plain dicts for ``Kind[dict]``.

    Writes are patches wherever an object exists already, so that fields this program does not know survive.
    Every method raises :class:`ApiError` or one of its children, and never an error of the library below.
    """

    async def get(self, kind: Kind[T], name: str, namespace: str | None = None) -> T: ...

    async def list(self, kind: Kind[T], namespace: str | None = None, selector: Selector = ALL) -> Listing[T]:
        """``namespace`` None means all namespaces."""
        ...

    def watch(
        self, kind: Kind[T], namespace: str | None, resource_version: str, selector: Selector = ALL
    ) -> AsyncIterator[Event[T]]:
        """Ends without an error when the server closes the watch; raises ExpiredError on 410."""
        ...

    async def create(self, kind: Kind[T], obj: T, namespace: str | None = None, *, dry_run: bool = False) -> T: ...

    async def patch(
        self, kind: Kind[T], name: str, patch: Patch, *, namespace: str | None = None, subresource: str = "",
        dry_run: bool = False,
    ) -> T: ...

    async def delete(
        self, kind: Kind[T], name: str, namespace: str | None = None, options: DeleteOptions = DEFAULT_DELETE
    ) -> None:
        """Returns when the API server has accepted the deletion; an object that is gone already is no error."""
        ...

    async def evict(self, pod: str, namespace: str, uid: str) -> None:
        """Ask for the end of this pod and no other. Raises ApiError 429 where a budget or a webhook says no, and
        ConflictError where another has its name; one that is gone already is no error."""
        ...



async def find(client: Client, kind: Kind[T], name: str, namespace: str | None = None) -> T | None:
    """:meth:`Client.get`, with None for an object that does not exist."""
    try:
        return await client.get(kind, name, namespace)
    except NotFoundError:
        return None
