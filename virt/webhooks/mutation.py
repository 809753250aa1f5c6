"""What mutating webhooks answer: the defaults of ``virt.api.defaults`` as JSON patches."""

import msgspec

from virt.api import admission, defaults, v1
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.base.clock import rfc3339
from virt.webhooks.review import Context, changed


async def machine(request: AdmissionRequest, context: Context) -> AdmissionReview:
    try:
        vm = request.new(v1.VirtualMachine)
    except msgspec.ValidationError:
        return admission.allowed(request.uid)      # the schema or the validator refuses it, and says where
    if vm.metadata.deletion_timestamp is not None:
        return admission.allowed(request.uid)
    is_new = request.operation == "CREATE"
    uuid, serial = (context.new_uuid(), context.new_uuid()) if is_new else ("", "")
    return changed(request, vm, defaults.virtual_machine(vm, context.config(), uuid=uuid, serial=serial))


async def instance(request: AdmissionRequest, context: Context) -> AdmissionReview:
    if request.operation != "CREATE" and context.is_component(request):
        return admission.allowed(request.uid)      # every write of a VMI's status comes by: it is not even decoded
    try:
        vmi = request.new(v1.VirtualMachineInstance)
        if request.operation == "CREATE":
            now = rfc3339(context.clock.now())
            new = defaults.instance(vmi, context.config(), now=now, uuid=context.new_uuid())
        else:
            new = defaults.instance_update(request.old(v1.VirtualMachineInstance), vmi)
    except msgspec.ValidationError:
        return admission.allowed(request.uid)
    return changed(request, vmi, new)


async def migration(request: AdmissionRequest, _: Context) -> AdmissionReview:
    try:
        migration = request.new(v1.VirtualMachineInstanceMigration)
    except msgspec.ValidationError:
        return admission.allowed(request.uid)
    return changed(request, migration, defaults.migration(migration))
