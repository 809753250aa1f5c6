"""The real :class:`virt.kube.client.Client`: lightkube's configuration, credentials and HTTP session, msgspec bodies.

lightkube's own typed client is not used: it decodes into its own models, and ours are the ones everything shares.
"""

import os
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from virt.api.kinds import POD, Kind
from virt.base import log
from virt.base.errors import VirtError
from virt.kube import answers
from virt.kube.client import (
    ALL,
    DEFAULT_DELETE,
    ApiError,
    ApplyPatch,
    DeleteOptions,
    Event,
    JsonPatch,
    Listing,
    MergePatch,
    NotFoundError,
    Patch,
    Selector,
)

T = TypeVar("T")

PAGE = 500                    # objects per list request
REQUEST_TIMEOUT_S = 30.0
WATCH_S = 300                 # the server is asked to end a watch after this time (plus up to as much again)
WATCH_SILENCE_S = 100.0       # bookmarks come about once a minute; a longer silence is a dead connection
_NO_SEGMENT = frozenset("/%?#")

_logger = log.get("virt.kube.client")


class KubeConfigError(VirtError):
    """No usable way to reach a cluster: neither a service account nor a kubeconfig."""

    reference = "no-kubeconfig"
    hint = "run inside a pod, or set KUBECONFIG to the path of a kubeconfig file"


class LightkubeClient:
    """One HTTP session to one API server. Close it with :meth:`close`.

    ``program`` is how the API server calls us: in its audit log, and as the manager of the fields that we write.
    Server-side appliers are told of conflicts with it, and are configured to leave its fields alone.
    """

    def __init__(self, config: SingleConfig, program: str) -> None:
        self._http = AsyncClient(
            config, ConnectionParams(timeout=httpx2.Timeout(REQUEST_TIMEOUT_S), trust_env=False)
        )
        self._http.headers["User-Agent"] = program

    async def close(self) -> None:
        await self._http.aclose()

    async def server_version(self) -> str:
        """The API server's own version: "v1.34.1"."""
        return answers.decode(await self._send("GET", "/version"), answers.Version).git_version

    async def get(self, kind: Kind[T], name: str, namespace: str | None = None) -> T:
        return answers.decode(await self._send("GET", _path(kind, namespace, name)), kind.type)

    async def list(self, kind: Kind[T], namespace: str | None = None, selector: Selector = ALL) -> Listing[T]:
        items: list[T] = []
        params = {**_selection(selector), "limit": str(PAGE)}
        while True:
            page = answers.decode(await self._send("GET", _path(kind, namespace), params), answers.Page)
            items += (obj for raw in page.items or () if (obj := answers.item(raw, kind)) is not None)
            if not page.metadata.continue_:
                return Listing(tuple(items), page.metadata.resource_version)
            params["continue"] = page.metadata.continue_

    async def watch(
        self, kind: Kind[T], namespace: str | None, resource_version: str, selector: Selector = ALL
    ) -> AsyncIterator[Event[T]]:
        params = {
            **_selection(selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(int(WATCH_S * (1 + random.random()))),
        }
        timeout = httpx2.Timeout(REQUEST_TIMEOUT_S, read=WATCH_SILENCE_S)
        try:
            async with self._http.stream("GET", _path(kind, namespace), params=params, timeout=timeout) as response:
                if response.status_code >= 400:
                    raise answers.error_of(response.status_code, await response.aread())
                # Lines are split by hand: str.splitlines would also cut at U+0085 inside a JSON text.
                rest = b""
                async for chunk in response.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = answers.event(line, kind)
                        if event is not None:
                            yield event
        except (httpx2.ReadTimeout, httpx2.RemoteProtocolError, httpx2.ReadError) as error:
            # The stream broke off: the same as the server closing it, the caller goes on from the last version.
            _logger.info("watch broke off", kind=kind.plural, error=repr(error))
        except httpx2.HTTPError as error:
            raise _unreachable(error) from error

    async def create(self, kind: Kind[T], obj: T, namespace: str | None = None, *, dry_run: bool = False) -> T:
        body = await self._send(
            "POST", _path(kind, namespace), _dry(dry_run), content=_as_go_writes(obj),
            content_type="application/json",
        )
        return answers.decode(body, kind.type)

    async def patch(
        self, kind: Kind[T], name: str, patch: Patch, *, namespace: str | None = None, subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        content, content_type, params = _patch_body(patch)
        path = _path(kind, namespace, name, subresource)
        body = await self._send(
            "PATCH", path, {**params, **_dry(dry_run)}, content=content, content_type=content_type
        )
        return answers.decode(body, kind.type)

    async def delete(
        self, kind: Kind[T], name: str, namespace: str | None = None, options: DeleteOptions = DEFAULT_DELETE
    ) -> None:
        document: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if options.grace_period_s is not None:
            document["gracePeriodSeconds"] = options.grace_period_s
        if options.propagation is not None:
            document["propagationPolicy"] = options.propagation
        if options.uid is not None:
            document["preconditions"] = {"uid": options.uid}
        try:
            await self._send(
                "DELETE", _path(kind, namespace, name), content=msgspec.json.encode(document),
                content_type="application/json",
            )
        except NotFoundError:
            return

    async def evict(self, pod: str, namespace: str, uid: str) -> None:
        document = {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._send(
                "POST", _path(POD, namespace, pod, "eviction"), content=msgspec.json.encode(document),
                content_type="application/json")
        except NotFoundError:
            return

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None = None, *, content: bytes | None = None,
        content_type: str = "",
    ) -> bytes:
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
        try:
            response = await self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx2.HTTPError as error:
            raise _unreachable(error) from error
        if response.status_code >= 400:
            raise answers.error_of(response.status_code, response.content)
        return response.content


def connect(program: str, kubeconfig: str | os.PathLike[str] | None = None) -> LightkubeClient:
    """A client for the given kubeconfig file, else the pod's service account, else $KUBECONFIG or ~/.kube/config.

    Raises :class:`KubeConfigError` when there is none of them.
    """
    try:
        config = KubeConfig.from_file(Path(kubeconfig)) if kubeconfig else KubeConfig.from_env()
        single = config.get()
    except (ConfigError, OSError) as error:
        raise KubeConfigError(f"no cluster to talk to: {error}") from error
    if single is None:
        raise KubeConfigError("the kubeconfig has no current context")
    return LightkubeClient(single, program)


def _path(kind: Kind[Any], namespace: str | None, name: str = "", subresource: str = "") -> str:
    for part in (namespace or "", name):
        # A name may be a user's word (a migration's vmiName): it must not lead to another object with our rights.
        if part in (".", "..") or not part.isprintable() or not _NO_SEGMENT.isdisjoint(part):
            raise NotFoundError(404, "NotFound", f"{kind.plural} {part!r} not found: no object can have this name")
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    tail = "".join(f"/{part}" for part in (name, subresource) if part)
    return f"{root}{scope}/{kind.plural}{tail}"


def _selection(selector: Selector) -> dict[str, str]:
    found = {"labelSelector": selector.labels, "fieldSelector": selector.fields}
    return {key: value for key, value in found.items() if value}


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _patch_body(patch: Patch) -> tuple[bytes, str, dict[str, str]]:
    match patch:
        case JsonPatch(operations):
            return msgspec.json.encode(operations), "application/json-patch+json", {}
        case MergePatch(document):
            return msgspec.json.encode(document), "application/merge-patch+json", {}
        case ApplyPatch(document, manager):
            # The media type says YAML; JSON is YAML.
            params = {"fieldManager": manager, "force": "true"}
            return msgspec.json.encode(document), "application/apply-patch+yaml", params


def _as_go_writes(obj: object) -> bytes:
    """JSON with sorted keys and with Go's escapes.

    The API server keeps a field without a schema as the bytes that were sent, and writes them in its own way when
    anything of the object is patched. A ControllerRevision's data may not change: sent in another form it could never
    lose its owner, and a VM deleted with policy Orphan would stay for ever.
    """
    plain = msgspec.json.encode(obj, order="sorted")
    return plain.replace(b"&", rb"\u0026").replace(b"<", rb"\u003c").replace(b">", rb"\u003e")


def _unreachable(error: httpx2.HTTPError) -> ApiError:
    return ApiError(503, "Unreachable", f"{type(error).__name__}: {error}")
