"""Admission webhooks over HTTP: an AdmissionReview in, one with the answer out.

What is decided is the judge's business: an awaited function from a request to an answer. It may let msgspec's
ValidationError pass (the answer names the field that does not fit) and ApiError (the answer says so: nothing unjudged
gets in).
"""

import re
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from virt.api import admission, codec, status
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.status import StatusCause
from virt.base import log
from virt.kube.client import ApiError
from virt.kube.http import json_response

Judge = Callable[[AdmissionRequest], Awaitable[AdmissionReview]]

_PATH = re.compile(r"(?P<message>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)

_logger = log.get("virt.kube.reviews")


def endpoint(judge: Judge) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of one webhook's path."""

    async def answer(request: web.Request) -> web.Response:
        try:
            review = codec.decode(await request.read(), AdmissionReview)
        except msgspec.MsgspecError as error:
            return web.Response(status=400, text=f"no admission review: {error}")
        if review.request is None:
            return web.Response(status=400, text="an admission review without a request")
        return json_response(await _judged(review.request, judge))

    return answer


async def _judged(request: AdmissionRequest, judge: Judge) -> AdmissionReview:
    try:
        return await judge(request)
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
