"""From an HTTP request to an admission review and back; what is decided is in the modules beside.

An admission function takes the request and says yes, no or how to change the object; it is awaited, since some rules
need other objects. Objects that do not fit their type are the validators' business: there the answer names the field.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from virt.api import admission, codec, jsonpatch, names, status
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import StatusCause
from virt.base import log
from virt.base.clock import Clock
from virt.kube.client import ApiError, Client

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What admission knows beside the request. ``config``: the one in force now. ``new_uuid`` gives random UUIDs."""

    client: Client
    namespace: str
    config: Callable[[], ClusterConfig]
    clock: Clock
    new_uuid: Callable[[], str]

    def is_component(self, request: AdmissionRequest) -> bool:
        """Whether one of our own service accounts asks."""
        return request.user_info.username in names.component_accounts(self.namespace)


Admit = Callable[[AdmissionRequest, Context], Awaitable[AdmissionReview]]

_PATH = re.compile(r"(?P<message>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)

_logger = log.get("virt.webhooks")


def endpoint(admit: Admit, context: Context) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of one webhook's path."""

    async def answer(request: web.Request) -> web.Response:
        try:
            review = codec.decode(await request.read(), AdmissionReview)
        except msgspec.MsgspecError as error:
            return web.Response(status=400, text=f"no admission review: {error}")
        if review.request is None:
            return web.Response(status=400, text="an admission review without a request")
        return web.Response(
            body=codec.encode(await _judged(review.request, admit, context)), content_type="application/json")

    return answer


async def _judged(request: AdmissionRequest, admit: Admit, context: Context) -> AdmissionReview:
    try:
        return await admit(request, context)
    except msgspec.ValidationError as error:
        return admission.denied(request.uid, status.invalid((misfit(error),)))
    except ApiError as error:
        _logger.warning("cannot judge", resource=request.resource.resource, name=request.name, error=str(error))
        return admission.denied(request.uid, status.failure(500, f"cannot judge {request.name!r} now: {error.message}"))


def misfit(error: msgspec.ValidationError) -> StatusCause:
    """A document of the wrong shape as a cause that names the field: ``spec.template.spec.domain``."""
    found = _PATH.fullmatch(str(error))
    message, path = (found["message"], found["path"] or "") if found else (str(error), "")
    return StatusCause(reason=status.INVALID, message=f"{path}: {message}" if path else message, field=path)


def verdict(
    request: AdmissionRequest, causes: Sequence[StatusCause], warnings: Sequence[str] = ()
) -> AdmissionReview:
    """No with the causes, yes without."""
    if causes:
        return admission.denied(request.uid, status.invalid(causes))
    return admission.allowed(request.uid, warnings)


def changed(request: AdmissionRequest, old: Any, new: Any) -> AdmissionReview:
    """The patch that makes the request's object, read as ``old``, into ``new``; fields unknown to the type survive."""
    return admission.patched(request.uid, jsonpatch.difference(codec.to_json(old), codec.to_json(new)))
