"""Why a server refused a WebSocket.

aiohttp drops the body of an answer that is no upgrade, and the reason with it; a trace sees the answer before that. So
that it can be used by a command that starts for each thing a person does, this module loads nothing but aiohttp.
"""

from collections.abc import Callable
from types import SimpleNamespace

import aiohttp


def refusals(take: Callable[[int, bytes], None]) -> aiohttp.TraceConfig:
    """For ``trace_configs`` of a session: ``take`` gets status and body of each answer that is an error."""

    async def look(_: object, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        if params.response.status >= 400:
            take(params.response.status, await params.response.read())

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(look)
    return trace
