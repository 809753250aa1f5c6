"""The cluster's API, as far as cluster_up needs it: plain requests with the administrator's certificate.

The client library is imported when first used, because it takes half a second and many commands need no API.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from cluster_up.again import again
from cluster_up.errors import ClusterError
from virt.base import waiting

T = TypeVar("T")

FIELD_MANAGER = "cluster-up"
NAMESPACE = "kubevirt"      # of the stack
_ASK_S = 20.0               # a server that is down refuses at once; one that stands still with its machine is not
_WRITE_S = 30.0
_AWAY_S = 120.0             # a control plane on a slow machine answers again within it
_BUSY = 429


class KubeError(ClusterError):
    """The API server refused a request, or did not answer (``code`` 0)."""

    reference = "kubernetes-api-error"
    hint = "`python -m cluster_up status` says which part is broken"

    def __init__(self, code: int, method: str, path: str, text: str) -> None:
        super().__init__(f"{method} {path}: {code or 'no answer'}: {text[:2000]}")
        self.code = code

    @property
    def passes(self) -> bool:
        """Whether the server was away or busy, so that the same request may succeed a moment later."""
        return self.code in (0, _BUSY) or self.code >= 500


def unless_away(look: Callable[[], T], away: T) -> T:
    """What ``look`` sees, for whoever waits; ``away`` while the API server does not answer or is busy."""
    try:
        return look()
    except KubeError as error:
        if not error.passes:
            raise
        return away


def _is_away(error: ClusterError) -> bool:
    return isinstance(error, KubeError) and error.passes


def condition(found: Mapping[str, Any], kind: str) -> str:
    """Status of a condition of an object: "True", "False", "Unknown", or "" where there is none."""
    conditions = found.get("status", {}).get("conditions") or []
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")


def phase_of(kubevirts: Sequence[Mapping[str, Any]]) -> str:
    """Phase of the KubeVirt object, of all that there are; "" where there is none yet."""
    return str(kubevirts[0].get("status", {}).get("phase", "")) if kubevirts else ""


def seconds_of(time: str) -> float:
    """Seconds since 1970 of a time as the API and the engine write it.

    >>> seconds_of("1970-01-01T00:01:00Z"), seconds_of("1970-01-01T00:00:01.123456789Z")
    (60.0, 1.123456)
    """
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00").timestamp()


class Kube:
    """The administrator's view. Every method may raise KubeError."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    @cached_property
    def _client(self) -> tuple[Any, str]:
        """(pool of connections with our certificate, address of the server)"""
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config(str(self._kubeconfig), client_configuration=settings)
        return client.ApiClient(settings).rest_client.pool_manager, settings.host

    def _request(
        self, method: str, path: str, *, timeout: float, body: bytes | None = None, content_type: str = ""
    ) -> str:
        from kubernetes.config import ConfigException
        from urllib3.exceptions import HTTPError

        try:
            pool, host = self._client
            headers = {"Content-Type": content_type} if content_type else {}
            answer = pool.request(method, host + path, body=body, headers=headers, retries=False, timeout=timeout)
        except (HTTPError, ConfigException, OSError) as error:
            raise KubeError(0, method, path, str(error)) from error
        text = bytes(answer.data).decode(errors="replace")
        if answer.status >= 300:
            raise KubeError(answer.status, method, path, text)
        return text

    def text(self, path: str, **query: str) -> str:
        """One GET, as it came."""
        full = f"{path}?{urlencode(query)}" if query else path
        return self._request("GET", full, timeout=_WRITE_S)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """One GET of an object or a list."""
        found: dict[str, Any] = json.loads(self.text(path, **query))
        return found

    def remove(self, path: str) -> None:
        """Delete one object."""
        self._request("DELETE", path, timeout=_WRITE_S)

    def is_ready(self, *, within_s: float = _ASK_S) -> bool:
        """Whether the API server answers and calls itself ready. Never raises."""
        try:
            return self._request("GET", "/readyz", timeout=within_s) == "ok"
        except KubeError:
            return False

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/nodes")["items"]
        return found

    def pod_cidrs(self) -> dict[str, str]:
        return {node["metadata"]["name"]: node["spec"].get("podCIDR", "") for node in self.nodes()}

    def all_nodes_ready(self) -> bool:
        nodes = self.nodes()
        return bool(nodes) and all(condition(node, "Ready") == "True" for node in nodes)

    def heartbeats(self) -> dict[str, float]:
        """When each node's kubelet last said that it lives, in seconds since 1970."""
        leases = self.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")["items"]
        return {
            lease["metadata"]["name"]: seconds_of(lease["spec"]["renewTime"])
            for lease in leases
            if lease.get("spec", {}).get("renewTime")
        }

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return found

    def kubevirts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/kubevirts")["items"]
        return found

    def apply(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Server-side apply of objects in order; what others need (namespaces, CRDs) has to come first.

        Applying twice changes nothing, so an API server that is away or busy is waited for.
        """
        for document in documents:
            again(partial(self._apply, document), _is_away, deadline_s=_AWAY_S, every_s=1.0)
            if document["kind"] == "CustomResourceDefinition":
                self._wait_served(document)

    def _apply(self, document: Mapping[str, Any]) -> None:
        path = self.path_of(document) + f"?fieldManager={FIELD_MANAGER}&force=true"
        body = json.dumps(document).encode()
        self._request("PATCH", path, body=body, content_type="application/apply-patch+yaml", timeout=_WRITE_S)

    def path_of(self, document: Mapping[str, Any]) -> str:
        """Path of an object, found through the API's own list of its resources."""
        version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if kind not in self._resources.get(root, {}):
            listed = self.get(root)["resources"]
            self._resources[root] = {r["kind"]: (r["name"], r["namespaced"]) for r in listed if "/" not in r["name"]}
        if kind not in self._resources[root]:
            raise KubeError(404, "GET", root, f"serves no kind {kind}")
        plural, namespaced = self._resources[root][kind]
        place = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{root}{place}/{plural}/{metadata['name']}"

    def _wait_served(self, definition: Mapping[str, Any]) -> None:
        """Until the definition is established and the list of resources, which is made later, has its kind."""
        name, spec = definition["metadata"]["name"], definition["spec"]
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        roots = [f"/apis/{spec['group']}/{version['name']}" for version in spec["versions"] if version["served"]]

        def missing() -> list[str]:
            if condition(self.get(path), "Established") != "True":
                return ["Established"]
            return [root for root in roots if spec["names"]["kind"] not in self._kinds(root)]

        waiting.wait_for(
            lambda: unless_away(missing, ["an answer"]), lambda left: not left, deadline_s=_AWAY_S,
            what=f"{name} to be served",
        )  # fmt: skip

    def _kinds(self, root: str) -> set[str]:
        """Kinds that the API lists at ``root`` now; none where it has no such list."""
        try:
            return {resource["kind"] for resource in self.get(root)["resources"]}
        except KubeError as error:
            if error.code != 404:
                raise
            return set()
