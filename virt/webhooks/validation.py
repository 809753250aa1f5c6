"""What validating webhooks answer: the rules of ``virt.api.validate``, with the objects that they compare with."""

from virt.api import admission, defaults, kinds, names, v1
from virt.api.admission import AdmissionRequest, AdmissionReview
from virt.api.validate import instance as instance_rules
from virt.api.validate import machine as machine_rules
from virt.api.validate import migration as migration_rules
from virt.api.validate import policy as policy_rules
from virt.kube.client import Selector, find
from virt.webhooks.review import Context


async def machine(request: AdmissionRequest, context: Context) -> AdmissionReview:
    vm, config = request.new(v1.VirtualMachine), context.config()
    if request.operation == "CREATE":
        causes = machine_rules.create(vm, config)
    else:
        causes = machine_rules.update(request.old(v1.VirtualMachine), vm, config)
    return admission.judged(request.uid, causes, machine_rules.warnings(vm))


async def instance_create(request: AdmissionRequest, context: Context) -> AdmissionReview:
    vmi, config = request.new(v1.VirtualMachineInstance), context.config()
    # The mutating webhook has been here, but a later one of somebody else may have added what needs defaults again.
    vmi = defaults.instance(vmi, config, now="", uuid="")
    return admission.judged(request.uid, instance_rules.create(vmi, config, by_component=context.is_component(request)))


async def instance_update(request: AdmissionRequest, context: Context) -> AdmissionReview:
    if context.is_component(request):
        return admission.allowed(request.uid)
    old, new = request.old(v1.VirtualMachineInstance), request.new(v1.VirtualMachineInstance)
    return admission.judged(request.uid, instance_rules.update(old, new))


async def migration_create(request: AdmissionRequest, context: Context) -> AdmissionReview:
    migration = request.new(v1.VirtualMachineInstanceMigration)
    causes = migration_rules.create(migration, by_component=context.is_component(request))
    if causes:
        return admission.judged(request.uid, causes)
    namespace, vmi_name = request.namespace, migration.spec.vmi_name
    vmi = await find(context.client, kinds.VMI, vmi_name, namespace)
    selector = Selector(labels=f"{names.MIGRATION_VMI_LABEL}={vmi_name}")
    others = (await context.client.list(kinds.VMIM, namespace, selector)).items
    if (refusal := migration_rules.refusal(migration, vmi, others)) is not None:
        return admission.denied(request.uid, refusal)
    return admission.allowed(request.uid)


async def migration_update(request: AdmissionRequest, _: Context) -> AdmissionReview:
    old = request.old(v1.VirtualMachineInstanceMigration)
    return admission.judged(request.uid, migration_rules.update(old, request.new(v1.VirtualMachineInstanceMigration)))


async def policy(request: AdmissionRequest, context: Context) -> AdmissionReview:
    return admission.judged(request.uid, policy_rules.causes(request.new(v1.MigrationPolicy), context.config()))
