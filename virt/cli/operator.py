"""virt-operator: installs what the KubeVirt object asks for (``python -m virt.cli.operator``).

All replicas answer webhooks and probes; the one that holds the lease works. A standby holds no cache and costs little.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

from virt.api import names
from virt.base import log, service
from virt.kube import http, lightkube_client
from virt.kube.events import EventRecorder
from virt.kube.leader import Elector
from virt.operator import settings
from virt.operator.admission import KubeVirtAdmission
from virt.operator.serving import ServingCertificate
from virt.operator.strategy.network import OPERATOR, OPERATOR_WEBHOOK_PORT

_logger = log.get("virt.operator")


async def tasks(_: asyncio.Event) -> Mapping[str, service.Task]:
    variables = os.environ
    namespace = variables.get("POD_NAMESPACE", names.INSTALL_NAMESPACE)
    identity = variables.get("POD_NAME", f"virt-operator-{os.getpid()}")
    client = lightkube_client.connect(OPERATOR)
    certificate = ServingCertificate(client, namespace)
    events = EventRecorder(client, OPERATOR, host=variables.get("NODE_NAME", ""))
    elector = Elector(client, namespace=namespace, name=OPERATOR, identity=identity)

    async def lead() -> None:
        from virt.operator.controller import Installer
        from virt.operator.world import World

        world = World(client, namespace)
        loop = Installer(world, lambda: settings.effective(variables, world.settings), events).controller()
        async with asyncio.TaskGroup() as group:
            for name, informer in world.informers.items():
                group.create_task(informer.run(), name=name)
            group.create_task(loop.run(), name="kubevirt")

    _logger.info("image", reference=variables.get("VIRT_OPERATOR_IMAGE", ""))
    return {
        "certificate": certificate.informer.run,
        "metrics": lambda: http.serve(http.health_app(), port=names.API_PORT, context=certificate.context),
        "webhooks": lambda: http.serve(
            KubeVirtAdmission(client).app(), port=OPERATOR_WEBHOOK_PORT, context=certificate.context,
            drain_s=http.DRAIN_S,
        ),
        "events": events.run,
        "leader": lambda: elector.run(lead),
    }


def main() -> int:
    return service.run("virt-operator", tasks)


if __name__ == "__main__":
    sys.exit(main())
