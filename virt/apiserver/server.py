"""The application of virt-api: discovery, health, and the guarded subresources.

Webhooks are added to it by ``virt.cli.api``. Every error leaves as a Status object.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from virt.api import codec, names
from virt.api.status import failure
from virt.api.subresources import GuestfsInfo, VersionInfo
from virt.apiserver import authorization, discovery, identity, openapi, refusal
from virt.apiserver.authorization import Authorizer
from virt.apiserver.discovery import GROUP_PATH
from virt.apiserver.identity import FrontProxy
from virt.apiserver.subresources import Subresources
from virt.base import log
from virt.kube import http
from virt.kube.client import ApiError
from virt.kube.http import RefusedError, json_response, status_response

MAX_BODY: Final = 8 << 20              # an admission review holds two versions of an object

_logger = log.get("virt.apiserver")


@dataclass(frozen=True)
class Health:
    """``is_ready``: the front proxy and the configuration are known. ``server_version`` asks kube-apiserver for its
    version and raises ApiError; ``config_version`` is the resource version of the CR."""

    is_ready: Callable[[], bool]
    server_version: Callable[[], Awaitable[str]]
    config_version: Callable[[], str]


@dataclass(frozen=True)
class Guard:
    """What a guarded request has to pass. ``proxy`` is asked each time, since it may change."""

    proxy: Callable[[], FrontProxy]
    authorizer: Authorizer


@dataclass(frozen=True)
class Backend:
    """Everything that the application answers with."""

    guard: Guard
    subresources: Subresources
    version: Callable[[], VersionInfo]
    guestfs: Callable[[], GuestfsInfo]
    health: Health


def application(backend: Backend) -> web.Application:
    """Everything but the webhooks."""
    app = web.Application(middlewares=middlewares(backend.guard), client_max_size=MAX_BODY)
    http.health_app(backend.health.is_ready, app)
    _add_discovery(app, backend)
    for served in names.SUBRESOURCE_VERSIONS:
        _add_subresources(app, f"{GROUP_PATH}/{served}/namespaces/{{namespace}}", backend.subresources)
    return app


def middlewares(guard: Guard) -> tuple[Middleware, Middleware]:
    """Middlewares for the application: errors become Status objects; then the guard."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedError as error:
            return status_response(error.status)
        except ApiError as error:
            _logger.warning("kube-apiserver refused", path=request.path, error=str(error))
            return status_response(failure(500, f"Internal error occurred: {error.message}"))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            response = status_response(failure(error.status, error.text or error.reason))
            if isinstance(error, web.HTTPMethodNotAllowed):
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except Exception:
            _logger.exception("request failed", path=request.path)
            return status_response(failure(500, "Internal error occurred: see the log of virt-api"))

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if authorization.is_guarded(request.path):
            await _admit(request, guard)
        return await handler(request)

    return errors, guarded


async def _admit(request: web.Request, guard: Guard) -> None:
    """Raises unless the front proxy vouches for somebody who may do this."""
    transport = request.transport
    proxy = guard.proxy()
    shown = transport.get_extra_info("peercert") if transport is not None else None
    who = identity.identity(request.headers, proxy) if shown else None
    if who is None:
        raise web.HTTPUnauthorized(text="request is not authenticated")
    what = authorization.attributes(request.method, request.raw_path.partition("?")[0])
    if what is None:
        raise web.HTTPNotFound(text="the server could not find the requested resource")
    if not await guard.authorizer.allows(who, what):
        raise refusal.denied(
            user=who.user, verb=what.verb, resource=what.full_resource, namespace=what.namespace, name=what.name)
    _logger.info("request", user=who.user, verb=what.verb, resource=what.full_resource, namespace=what.namespace,
                 name=what.name)


def _add_subresources(app: web.Application, root: str, built: Subresources) -> None:
    vm, vmi = f"{root}/virtualmachines/{{name}}", f"{root}/virtualmachineinstances/{{name}}"
    tables: Mapping[str, Mapping[str, Handler]] = {
        root: {"expand-vm-spec": built.expand_sent},
        vm: {
            "start": built.start, "stop": built.stop, "restart": built.restart, "migrate": built.migrate,
            "expand-spec": built.expand_machine,
            "addvolume": built.add_volume_to_machine, "removevolume": built.remove_volume_from_machine,
            "portforward": built.forward_to_machine, "evacuate/cancel": built.cancel_evacuation_of_machine,
        },
        vmi: {
            "console": built.console, "vnc": built.vnc, "vnc/screenshot": built.screenshot, "pause": built.pause,
            "unpause": built.unpause, "softreboot": built.soft_reboot, "reset": built.reset, "freeze": built.freeze,
            "unfreeze": built.freeze, "guestosinfo": built.guest_question, "userlist": built.guest_question,
            "filesystemlist": built.guest_question, "portforward": built.forward,
            "addvolume": built.add_volume, "removevolume": built.remove_volume,
            "evacuate/cancel": built.cancel_evacuation,
        },
    }
    for resource in discovery.RESOURCES:
        parent = {"virtualmachines": vm, "virtualmachineinstances": vmi}.get(resource.parent, root)
        endpoint = tables.get(parent, {}).get(resource.name, built.unbuilt)
        method = "GET" if resource.verb == "get" else "PUT"
        for path in resource.paths:
            app.router.add_route(method, f"{root}/{path}", endpoint)


def _add_discovery(app: web.Application, backend: Backend) -> None:
    health = backend.health

    def constant(document: discovery.Document) -> Handler:
        body = codec.encode(document)

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, content_type="application/json")

        return answer

    groups, everything = constant(discovery.group_list()), codec.encode(discovery.aggregated())

    async def apis(request: web.Request) -> web.StreamResponse:
        if discovery.accepts_aggregated(request.headers.get("Accept", "")):
            return web.Response(body=everything, headers={"Content-Type": discovery.AGGREGATED_V2})
        return await groups(request)

    async def version_now(_: web.Request) -> web.StreamResponse:
        return json_response(backend.version())

    async def guestfs_now(_: web.Request) -> web.StreamResponse:
        return json_response(backend.guestfs())

    async def healthz(_: web.Request) -> web.StreamResponse:
        try:
            report, code = {"connectivity": "ok", "version": await health.server_version()}, 200
        except ApiError as error:
            report, code = {"connectivity": "failed", "error": error.message}, 500
        if not health.is_ready():
            code = 503
        return json_response({"apiserver": report, "config-resource-version": health.config_version()}, code)

    add = app.router.add_get
    add("/", constant(discovery.root_paths(("/healthz", "/metrics", "/openapi/v2", "/openapi/v3"))))
    add("/apis", apis)
    add(GROUP_PATH, constant(discovery.group()))
    add("/openapi/v2", constant(openapi.v2()))
    add("/openapi/v3", constant(openapi.v3_index()))
    add("/version", version_now)
    for served in names.SUBRESOURCE_VERSIONS:
        add(f"{GROUP_PATH}/{served}", constant(discovery.resource_list(served)))
        add(f"{GROUP_PATH}/{served}/version", version_now)
        add(f"{GROUP_PATH}/{served}/guestfs", guestfs_now)
        add(f"{GROUP_PATH}/{served}/healthz", healthz)
        add(f"/openapi/v3{GROUP_PATH}/{served}", constant(openapi.v3(served)))
