"""Answers of an API server as objects and errors: what ``virt.kube.lightkube_client`` makes of bodies. No I/O."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from virt.api import codec
from virt.api.core.meta import ObjectMeta
from virt.api.kinds import Kind
from virt.base import log
from virt.kube.client import ApiError, ConflictError, Event, ExpiredError, NotFoundError

T = TypeVar("T")

_logger = log.get("virt.kube.client")


class _Status(msgspec.Struct):
    """metav1.Status, as far as errors need it."""

    code: int = 0
    reason: str = ""
    message: str = ""


class Version(msgspec.Struct, rename="camel"):
    """What /version answers."""

    git_version: str = ""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """A part of a list; ``metadata.continue_`` asks for the next one, "" at the end."""

    metadata: _ListMeta
    items: tuple[msgspec.Raw, ...] | None = ()


class _WatchLine(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: ObjectMeta


def decode(body: bytes | msgspec.Raw, into: type[T]) -> T:
    """Raises ApiError (code 0) for what is no ``into``."""
    try:
        return codec.decode(bytes(body), into)      # bookmarks come with "containers": null
    except msgspec.DecodeError as error:
        name = getattr(into, "__name__", str(into))
        raise ApiError(0, "Undecodable", f"answer is no {name}: {error}; it begins {bytes(body)[:200]!r}") from error


def item(raw: msgspec.Raw, kind: Kind[T]) -> T | None:
    """One object of a list or watch. What does not fit the type is logged and left out: one bad object (written before
    its schema was there) must not blind a controller to all the others."""
    try:
        obj = decode(raw, kind.type)
        if isinstance(obj, dict):             # objects in a list come without their kind
            obj.setdefault("apiVersion", kind.api_version)
            obj.setdefault("kind", kind.name)
        return obj
    except ApiError as error:
        _logger.warning("object left out", kind=kind.plural, error=error.message)
        return None


def event(line: bytes, kind: Kind[T]) -> Event[T] | None:
    """One line of a watch; None when there is nothing to tell. Raises the ApiError that the server sent."""
    if not line.strip():
        return None
    parsed = decode(line, _WatchLine)
    match parsed.type:
        case "ERROR":
            status = decode(parsed.object, _Status)
            raise _classified(status.code, status.reason, status.message)
        case "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" as kind_of_event:
            version = decode(parsed.object, _Bookmark).metadata.resource_version
            obj = item(parsed.object, kind)
            return None if obj is None else Event(kind_of_event, obj, version)
    return None


def error_of(code: int, body: bytes) -> ApiError:
    """The error for a refusal: the Status in ``body``, or its text where it holds none."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        status = _Status(message=body[:500].decode(errors="replace").strip())
    reasons = {404: "NotFound", 409: "Conflict", 410: "Expired", 401: "Unauthorized", 403: "Forbidden"}
    return _classified(code, status.reason or reasons.get(code, "Unknown"), status.message)


def _classified(code: int, reason: str, message: str) -> ApiError:
    kinds: Mapping[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError, 410: ExpiredError}
    return kinds.get(code, ApiError)(code, reason, message)
