"""virt-controller: ``python3 -m virt.cli.controller``.

Environment: VIRT_LAUNCHER_IMAGE (image of launcher pods), POD_NAME (identity in the leader election; without it the
host's name), POD_NAMESPACE (without it kubevirt). Certificates: Secret kubevirt-controller-certs. Port 8443: /healthz,
/leader, /metrics.
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Mapping

from aiohttp import web
from prometheus_client import REGISTRY

from virt.api import names
from virt.base import service
from virt.base.errors import SettingMissingError
from virt.controller.app import Controllers
from virt.controller.migration.metrics import phase_times
from virt.kube import http, lightkube_client
from virt.kube.leader import Elector

LEASE_NAME = "virt-controller"
CERTS = "kubevirt-controller-certs"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    image = environment.get("VIRT_LAUNCHER_IMAGE", "")
    if not image:
        raise SettingMissingError("VIRT_LAUNCHER_IMAGE is not set: no pod could be made")
    return {
        "image": image,
        "identity": environment.get("POD_NAME") or socket.gethostname(),
        "namespace": environment.get("POD_NAMESPACE") or names.INSTALL_NAMESPACE,
    }


def leader_app(controllers: Controllers, elector: Elector) -> web.Application:
    """Ready once the caches are full, leading or not: a replica that waits for the lease is no fault."""
    app = http.health_app(lambda: controllers.is_synced)

    async def leader(_: web.Request) -> web.Response:
        return web.json_response({"apiserver": {"leader": str(elector.is_leader).lower()}})

    app.router.add_get("/leader", leader)
    return app


def main() -> int:
    argparse.ArgumentParser(prog="virt-controller", description=__doc__).parse_args()

    async def tasks(_: asyncio.Event) -> Mapping[str, service.Task]:
        chosen = settings(os.environ)
        client = lightkube_client.connect("virt-controller")
        times = phase_times()
        controllers = Controllers(
            client, namespace=chosen["namespace"], launcher_image=chosen["image"],
            phase_entered=lambda phase, seconds: times.labels(phase).observe(seconds))
        elector = Elector(
            client, namespace=chosen["namespace"], name=LEASE_NAME, identity=chosen["identity"])
        certs = http.Certificates(f"{names.CERTS_DIR}/{CERTS}")
        REGISTRY.register(controllers.migration_metrics(lambda: elector.is_leader))
        app = leader_app(controllers, elector)
        return {
            "http": lambda: http.serve(app, port=names.API_PORT, certs=certs),
            **controllers.followers(),
            "leader": lambda: elector.run(controllers.lead),
        }

    return service.run("virt-controller", tasks)


if __name__ == "__main__":
    sys.exit(main())
