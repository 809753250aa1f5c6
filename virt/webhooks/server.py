"""Which function answers on which path of virt-api. virt-operator serves those of the KubeVirt object itself."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from virt.api import names, webhookpaths
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.kube import reviews
from virt.webhooks import eviction, mutation, validation
from virt.webhooks.review import Admit, Context

ADMISSION: Final[Mapping[str, Admit]] = {
    webhookpaths.VM_MUTATE: mutation.machine,
    webhookpaths.VMI_MUTATE: mutation.instance,
    webhookpaths.MIGRATION_MUTATE: mutation.migration,
    webhookpaths.VM_VALIDATE: validation.machine,
    webhookpaths.VMI_VALIDATE_CREATE: validation.instance_create,
    webhookpaths.VMI_VALIDATE_UPDATE: validation.instance_update,
    webhookpaths.MIGRATION_VALIDATE_CREATE: validation.migration_create,
    webhookpaths.MIGRATION_VALIDATE_UPDATE: validation.migration_update,
    webhookpaths.POLICY_VALIDATE: validation.policy,
    webhookpaths.POD_EVICTION: eviction.pod_eviction,
}


def add_routes(app: web.Application, context: Context) -> None:
    """All webhooks behind the service virt-api. kube-apiserver shows no certificate here, so anybody may ask: answers
    give nothing away but what the rules say about the object that was sent."""
    # Two may share a path.
    for path in dict.fromkeys(webhook.path for webhook in webhookpaths.of_service(names.API_SERVICE)):
        app.router.add_post(path, reviews.endpoint(_judge(ADMISSION[path], context)))


def _judge(admit: Admit, context: Context) -> reviews.Judge:
    async def judge(request: AdmissionRequest) -> AdmissionReview:
        return await admit(request, context)

    return judge
