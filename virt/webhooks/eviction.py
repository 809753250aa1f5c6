"""Requests to evict pods: those of launchers, and of pods with their disks, may become migrations."""

import msgspec

from virt.api import admission, core, jsonpatch, kinds, names, v1
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.status import failure
from virt.api.validate import eviction
from virt.kube.client import ConflictError, JsonPatch, NotFoundError, find
from virt.webhooks.review import Context

TOO_MANY_REQUESTS = 429
_TRIES = 5
_PLACE = "/status/evacuationNodeName"
_REQUESTED_BY, _DESCHEDULER = "requested-by", "sigs.k8s.io/descheduler"


async def pod_eviction(request: AdmissionRequest, context: Context) -> AdmissionReview:
    pod = await find(context.client, kinds.POD, request.name, request.namespace)
    # Of a missing one kube-apiserver tells itself.
    if pod is None or not (eviction.is_launcher(pod) or eviction.is_attachment(pod)):
        return admission.allowed(request.uid)
    for _ in range(_TRIES):
        vmi = await find(context.client, kinds.VMI, eviction.vmi_name(pod), request.namespace)
        default = context.config().eviction_strategy
        if eviction.is_attachment(pod):
            verdict = eviction.judge_attachment(pod, await _launcher(context, pod), vmi, default)
        else:
            verdict = eviction.judge(pod, vmi, default)
        if not verdict.refusal:
            return admission.allowed(request.uid)
        if vmi is None or not verdict.marks or is_dry_run(request):
            break
        try:
            await _mark(context, vmi, source(request))
        except ConflictError:
            continue                                    # somebody wrote in between: look again
        except NotFoundError:
            return admission.allowed(request.uid)
        break
    return admission.denied(
        request.uid, msgspec.structs.replace(failure(TOO_MANY_REQUESTS, verdict.refusal), reason="TooManyRequests"))


def is_dry_run(request: AdmissionRequest) -> bool:
    """Clients ask for one in the query, or in the eviction's options for the deletion, as kubectl drain does."""
    options = (request.object or {}).get("deleteOptions")
    asked = options.get("dryRun") if isinstance(options, dict) else None
    return bool(request.dry_run) or (isinstance(asked, list) and "All" in asked)


def source(request: AdmissionRequest) -> str:
    """Who asks, where the eviction says so: only the descheduler does, by an annotation of its own."""
    meta = (request.object or {}).get("metadata")
    annotations = meta.get("annotations") if isinstance(meta, dict) else None
    asked_by = annotations.get(_REQUESTED_BY) if isinstance(annotations, dict) else None
    return eviction.DESCHEDULER if asked_by == _DESCHEDULER else ""


async def _launcher(context: Context, attachment: core.Pod) -> core.Pod | None:
    """The pod that an attachment pod belongs to."""
    meta = attachment.metadata
    owner = next((owner for owner in meta.owner_references if owner.controller and owner.kind == kinds.POD.name), None)
    if owner is None:
        return None
    found = await find(context.client, kinds.POD, owner.name, meta.namespace)
    return found if found is not None and found.metadata.uid == owner.uid and eviction.is_launcher(found) else None


async def _mark(context: Context, vmi: v1.VirtualMachineInstance, asked_by: str) -> None:
    """``asked_by`` is kept beside the mark, and that of an earlier one forgotten."""
    meta = vmi.metadata
    guard = jsonpatch.add("/metadata/resourceVersion", meta.resource_version)
    annotations = {name: value for name, value in meta.annotations.items() if name != names.EVICTION_SOURCE_ANNOTATION}
    if asked_by:
        annotations[names.EVICTION_SOURCE_ANNOTATION] = asked_by
    told = () if annotations == meta.annotations else (jsonpatch.add("/metadata/annotations", annotations),)
    patch = JsonPatch((guard, *told, jsonpatch.add(_PLACE, vmi.status.node_name)))
    await context.client.patch(kinds.VMI, meta.name, patch, namespace=meta.namespace)
