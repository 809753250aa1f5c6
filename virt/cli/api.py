"""virt-api: subresources and admission. ``python3 -m virt.cli.api``

Environment: POD_NAMESPACE if it is not the one of the service account. The version comes from the KubeVirt object: in
the environment, each new one would restart the pods. KUBEVIRT_VERSION, VIRT_COMMIT and VIRT_BUILD_DATE overrule it.
"""

import asyncio
import os
import platform
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from virt.api import clusterconfig, kinds, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.subresources import GuestfsInfo, VersionInfo
from virt.apiserver import identity, server
from virt.apiserver.authorization import Authorizer
from virt.apiserver.nodes import Handlers
from virt.apiserver.subresources import Subresources
from virt.apiserver.tls import FrontDoor, HandlerDoor
from virt.base import service
from virt.base.clock import RealClock
from virt.kube import http, lightkube_client
from virt.kube.client import Selector
from virt.kube.informer import Informer
from virt.webhooks import server as webhooks
from virt.webhooks.review import Context

ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def install_namespace(environment: Mapping[str, str]) -> str:
    if environment.get("POD_NAMESPACE"):
        return environment["POD_NAMESPACE"]
    return ACCOUNT_NAMESPACE.read_text().strip() if ACCOUNT_NAMESPACE.exists() else names.INSTALL_NAMESPACE


def version_info(environment: Mapping[str, str], cr: v1.KubeVirt | None) -> VersionInfo:
    """What the environment says, else what the KubeVirt object says is installed."""
    known = cr.status.observed_kube_virt_version or cr.status.target_kube_virt_version if cr else ""
    return VersionInfo(
        git_version=environment.get("KUBEVIRT_VERSION") or known or "v0.0.0",
        git_commit=environment.get("VIRT_COMMIT", "unknown"),
        git_tree_state="clean", build_date=environment.get("VIRT_BUILD_DATE", "1970-01-01T00:00:00Z"),
        go_version=f"python{platform.python_version()}", compiler=platform.python_implementation().lower(),
        platform=f"{platform.system().lower()}/{clusterconfig.own_architecture()}",
    )


def guestfs_info(cr: v1.KubeVirt | None) -> GuestfsInfo:
    """Registry and tag of what is installed; the image itself is not part of this stack."""
    known = cr.status if cr else v1.KubeVirtStatus()
    return GuestfsInfo(registry=known.observed_kube_virt_registry, tag=known.observed_kube_virt_version)


def current(informer: Informer[v1.KubeVirt]) -> v1.KubeVirt | None:
    """The one KubeVirt object; the oldest if a second slipped in."""
    return min(informer.store, key=lambda cr: cr.metadata.creation_timestamp or "", default=None)


async def tasks(_: asyncio.Event) -> Mapping[str, service.Task]:
    client = lightkube_client.connect(names.API_SERVICE)
    namespace, certs = install_namespace(os.environ), Path(names.CERTS_DIR)
    kubevirts: Informer[v1.KubeVirt] = Informer(client, kinds.KUBEVIRT)
    proxies: Informer[Any] = Informer(
        client, kinds.CONFIG_MAP, namespace=identity.NAMESPACE,
        selector=Selector(fields=f"metadata.name={identity.CONFIG_MAP}"))
    door = FrontDoor(certs / names.API_CERTS)
    # An installation without the client certificate of its own shows the server's.
    client_certs = certs / names.HANDLER_CLIENT_CERTS
    handlers = HandlerDoor(client_certs if client_certs.exists() else certs / names.API_CERTS, names.CA_FILE)

    def proxy() -> identity.FrontProxy:
        return identity.front_proxy(proxies.store.find(identity.NAMESPACE, identity.CONFIG_MAP))

    def config() -> ClusterConfig:
        return clusterconfig.effective(current(kubevirts))

    proxies.on_change(lambda _before, _after: door.trust(proxy()))
    backend = server.Backend(
        server.Guard(proxy, Authorizer(client, RealClock())),
        Subresources(client, Handlers(client, namespace, handlers.context), config),
        lambda: version_info(os.environ, current(kubevirts)), lambda: guestfs_info(current(kubevirts)),
        server.Health(
            lambda: proxies.synced.is_set() and kubevirts.synced.is_set(), client.server_version,
            lambda: config_version(kubevirts)),
    )
    app = server.application(backend)
    webhooks.add_routes(app, Context(client, namespace, config, RealClock(), lambda: str(uuid.uuid4())))
    return {
        "kubevirts": kubevirts.run,
        "front proxy": proxies.run,
        "certificate": door.follow,
        "http": lambda: http.serve(app, port=names.API_PORT, context=door.context, drain_s=http.DRAIN_S),
    }


def config_version(informer: Informer[v1.KubeVirt]) -> str:
    cr = current(informer)
    return cr.metadata.resource_version if cr else ""


if __name__ == "__main__":
    sys.exit(service.run("virt-api", tasks))
