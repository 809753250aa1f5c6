"""How a subresource says no: a Status with the words that API machinery of Kubernetes uses, as an exception.

Clients print the message, and some compare it; so it is built here, once.
"""

from typing import Any

from virt.api import names, status
from virt.api.kinds import Kind
from virt.kube.client import ApiError
from virt.kube.http import RefusedError

# What kube-apiserver says when a "test" of a JSON patch fails: somebody else was faster.
_FAILED_TEST = "the server rejected our request due to an error in our request"


class LostRaceError(RefusedError):
    """Somebody else wrote while this was decided, so that it is worth deciding again."""


def bad_request(message: str) -> RefusedError:
    return RefusedError(status.failure(400, message))


def internal(message: str) -> RefusedError:
    return RefusedError(status.failure(500, f"Internal error occurred: {message}"))


def unavailable(message: str) -> RefusedError:
    return RefusedError(status.failure(503, message))


def not_implemented(what: str) -> RefusedError:
    return RefusedError(status.failure(501, f"{what} is not implemented in this release", reason="NotImplemented"))


def conflict(kind: Kind[Any], name: str, why: str) -> RefusedError:
    """409: the object is in a state that does not allow the action."""
    return RefusedError(status.failure(
        409, f'Operation cannot be fulfilled on {_resource(kind)} "{name}": {why}', name=name, group=kind.group,
        kind=kind.name.lower(),
    ))


def forbidden(kind: Kind[Any], name: str, why: str) -> RefusedError:
    """403 for a reason other than missing rights."""
    return RefusedError(status.failure(
        403, f'{_resource(kind)} "{name}" is forbidden: {why}', name=name, group=kind.group, kind=kind.name.lower(),
    ))


def not_found(kind: Kind[Any], name: str) -> RefusedError:
    return RefusedError(status.not_found(_resource(kind), name))


def denied(*, user: str, verb: str, resource: str, namespace: str, name: str) -> RefusedError:
    """403: ``user`` lacks the right. ``resource`` with its subresource: ``virtualmachines/start``."""
    plural = resource.partition("/")[0]
    said = f'{plural}.{names.SUBRESOURCE_GROUP} "{name}" is forbidden: ' if name else ""
    return RefusedError(status.failure(
        403,
        f'{said}User "{user}" cannot {verb} resource "{resource}" in API group "{names.SUBRESOURCE_GROUP}" in the '
        f'namespace "{namespace}"',
        name=name, group=names.SUBRESOURCE_GROUP, kind=plural,
    ))


def of_api_error(error: ApiError, kind: Kind[Any], name: str) -> RefusedError:
    """What kube-apiserver refused, passed on; a lost race becomes the 409 that it is."""
    if error.code == 404:
        return not_found(kind, name)
    if error.code == 422 and _FAILED_TEST in error.message:
        return conflict(kind, name, "the object has been modified; please try again")
    code = error.code if 400 <= error.code < 600 else 500
    return RefusedError(status.failure(
        code, error.message, reason=error.reason, name=name, group=kind.group, kind=kind.name.lower()))


def _resource(kind: Kind[Any]) -> str:
    return f"{kind.name.lower()}.{kind.group}"
