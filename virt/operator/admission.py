"""Admission of KubeVirt objects: one per cluster, valid settings, and no removal under VMs where that is forbidden.

The rules are in virt.api.validate.kubevirt; this is the HTTP side, and the look at what exists.
"""

from aiohttp import web

from virt.api import admission, v1, webhookpaths
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.kinds import KUBEVIRT, VM, VMI, untyped
from virt.api.status import Status, failure
from virt.api.validate import kubevirt as rules
from virt.kube import reviews
from virt.kube.client import Client, NotFoundError

_BLOCKING = "BlockUninstallIfWorkloadsExist"
_WORKLOADS = tuple(
    untyped(kind.group, kind.version, kind.plural, kind.name, namespaced=True) for kind in (VMI, VM)
)
_MOST_BYTES = 8 << 20


class KubeVirtAdmission:
    """The webhooks of virt-operator-validator."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def app(self) -> web.Application:
        judges: dict[str, reviews.Judge] = {
            webhookpaths.KUBEVIRT_VALIDATE_CREATE: self.create,
            webhookpaths.KUBEVIRT_VALIDATE_UPDATE: self.update,
            webhookpaths.KUBEVIRT_VALIDATE_DELETE: self.delete,
        }
        app = web.Application(client_max_size=_MOST_BYTES)
        for path, judge in judges.items():
            app.router.add_post(path, reviews.endpoint(judge))
        return app

    async def create(self, request: AdmissionRequest) -> AdmissionReview:
        existing = await self._client.list(KUBEVIRT)
        refusal = rules.refusal(existing.items)
        return admission.denied(request.uid, refusal) if refusal else _judged(request)

    async def update(self, request: AdmissionRequest) -> AdmissionReview:
        new, old = request.new(v1.KubeVirt), request.old(v1.KubeVirt)
        if new.spec == old.spec:
            return admission.allowed(request.uid)       # labels, finalizers: also of an object that was let in earlier
        return _judged(request)

    async def delete(self, request: AdmissionRequest) -> AdmissionReview:
        old = request.old(v1.KubeVirt)
        refusal = None
        if old.spec.uninstall_strategy == _BLOCKING and old.status.phase == "Deployed":
            refusal = await self._workloads()
        return admission.denied(request.uid, refusal) if refusal else admission.allowed(request.uid)

    async def _workloads(self) -> Status | None:
        counts = []
        for kind in _WORKLOADS:
            try:
                found = await self._client.list(kind)
            except NotFoundError:
                continue
            if found.items:
                counts.append(f"{len(found.items)} {kind.name}")
        if not counts:
            return None
        return failure(
            400, f"there are {' and '.join(counts)} objects; uninstallStrategy {_BLOCKING} keeps KubeVirt until they "
                 "are deleted"
        )


def _judged(request: AdmissionRequest) -> AdmissionReview:
    cr = request.new(v1.KubeVirt)
    return admission.judged(request.uid, rules.causes(cr), rules.warnings(cr))
