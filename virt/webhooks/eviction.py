"""Requests to evict pods: those of launchers, and of pods with their disks, may become migrations."""

import msgspec

from virt.api import admission, core, jsonpatch, kinds, names, v1
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.status import failure
from virt.api.validate import eviction
from virt.kube.client import ConflictError, JsonPatch, NotFoundError
from virt.webhooks.review import Context

TOO_MANY_REQUESTS = 429
_TRIES = 5
_PLACE = "/status/evacuationNodeName"
_REQUESTED_BY, _DESCHEDULER = "requested-by", "sigs.k8s.io/descheduler"


async def pod_eviction(request: AdmissionRequest, context: Context) -> AdmissionReview:
    try:
        pod = await context.client.get(kinds.POD, request.name, request.namespace)
    except NotFoundError:
        return admission.allowed(request.uid)           # kube-apiserver says so itself
    if not eviction.is_launcher(pod) and not eviction.is_attachment(pod):
        return admission.allowed(request.uid)
    for _ in range(_TRIES):
        vmi = await _vmi(context, request.namespace, eviction.vmi_name(pod))
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


async def _vmi(context: Context, namespace: str, name: str) -> v1.VirtualMachineInstance | None:
    try:
        return await context.client.get(kinds.VMI, name, namespace)
    except NotFoundError:
        return None


async def _launcher(context: Context, attachment: core.Pod) -> core.Pod | None:
    """The pod that an attachment pod belongs to."""
    meta = attachment.metadata
    owner = next((owner for owner in meta.owner_references if owner.controller and owner.kind == kinds.POD.name), None)
    if owner is None:
        return None
    try:
        found = await context.client.get(kinds.POD, owner.name, meta.namespace)
    except NotFoundError:
        return None
    return found if found.metadata.uid == owner.uid and eviction.is_launcher(found) else None


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
