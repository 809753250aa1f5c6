"""The Status object: how an API server of Kubernetes says no.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from collections.abc import Sequence
from typing import Final

from virt.api.core import ObjectMeta
from virt.api.wire import Wire, always

MAX_CAUSES: Final = 10

# Reasons of a cause.
INVALID: Final = "FieldValueInvalid"
REQUIRED: Final = "FieldValueRequired"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
DUPLICATE: Final = "FieldValueDuplicate"


class StatusCause(Wire):
    """``field``: a path as in ``spec.domain.devices.disks[0].name``; ``reason``: one of the words above."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(Wire):
    name: str = ""
    group: str = ""
    kind: str = ""
    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: int = 0


class Status(Wire):
    """``code`` is the HTTP status it is sent with."""

    api_version: str = always("v1")
    kind: str = always("Status")
    metadata: ObjectMeta = always(ObjectMeta())
    status: str = always("Failure")
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int = 0


_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    409: "Conflict", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests",
    500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}


def failure(code: int, message: str, *, reason: str = "", name: str = "", group: str = "", kind: str = "") -> Status:
    """A refusal with the usual reason of its code."""
    details = StatusDetails(name=name, group=group, kind=kind) if name or kind else None
    return Status(code=code, reason=reason or _REASONS.get(code, ""), message=message, details=details)


def not_found(resource: str, name: str) -> Status:
    """``resource`` as kubectl prints it, for example ``virtualmachine.kubevirt.io``."""
    kind, _, group = resource.partition(".")
    return failure(404, f'{resource} "{name}" not found', name=name, group=group, kind=kind)


def invalid(causes: Sequence[StatusCause]) -> Status:
    """422 with the first ten causes; the message joins theirs and counts the rest."""
    reported = tuple(causes[:MAX_CAUSES])
    message = ", ".join(cause.message for cause in reported)
    if more := len(causes) - len(reported):
        message += f", and {more} more validation errors"
    return Status(code=422, reason="Invalid", message=message, details=StatusDetails(causes=reported))
