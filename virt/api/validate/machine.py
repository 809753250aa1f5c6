"""VirtualMachines: rules 1 to 6 and 96 of the specification, and those of the VMI that the template describes."""

from collections.abc import Mapping

from msgspec.structs import replace

from virt.api import defaults, unbuilt, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import StatusCause
from virt.api.validate.causes import Causes, invalid, not_supported, required
from virt.api.validate.instance import reserved_labels, spec_causes

RUN_STRATEGIES = ("Always", "Halted", "Manual", "RerunOnFailure", "Once")
_TEMPLATE_LABELS = "spec.template.metadata.labels"


def create(vm: v1.VirtualMachine, config: ClusterConfig) -> tuple[StatusCause, ...]:
    """What is wrong with a new VM. Its template is judged as the VMI that it would become."""
    return (
        *_strategy(vm.spec), *_contents(vm, config),
        *reserved_labels(_TEMPLATE_LABELS, {}, _template_labels(vm)),
    )


def update(old: v1.VirtualMachine, new: v1.VirtualMachine, config: ClusterConfig) -> tuple[StatusCause, ...]:
    """What is wrong with a changed VM. One that is being deleted is let through, so that finalizers can go."""
    def causes() -> Causes:
        if new.metadata.deletion_timestamp is not None:
            return
        if old.spec != new.spec:
            yield from _strategy(new.spec)
        # A template that today's rules would refuse must not keep anybody from switching the VM off.
        if replace(old.spec, run_strategy=None, running=None) != replace(new.spec, run_strategy=None, running=None):
            yield from _contents(new, config)
        yield from reserved_labels(_TEMPLATE_LABELS, _template_labels(old), _template_labels(new))
        yield from _locks(old, new)
    return tuple(causes())


def warnings(vm: v1.VirtualMachine) -> tuple[str, ...]:
    """What the API server should tell the client although the VM is fine."""
    if vm.spec.running is None:
        return ()
    return ("spec.running is deprecated, please use spec.runStrategy instead.",)


def _template_labels(vm: v1.VirtualMachine) -> Mapping[str, str]:
    """What the controller will put on the VMI, in its own name."""
    return vm.spec.template.metadata.labels if vm.spec.template is not None else {}


def _strategy(spec: v1.VirtualMachineSpec) -> Causes:
    if spec.running is not None and spec.run_strategy is not None:
        yield invalid("spec.running", "Running and RunStrategy are mutually exclusive. Running is deprecated, please "
                                      "use RunStrategy instead")
    elif spec.running is None and spec.run_strategy is None:
        yield invalid("spec.running", "RunStrategy must be specified")
    if spec.run_strategy is not None and spec.run_strategy not in RUN_STRATEGIES:
        yield not_supported("spec.runStrategy", f"Invalid RunStrategy ({spec.run_strategy})")


def _contents(vm: v1.VirtualMachine, config: ClusterConfig) -> Causes:
    spec = vm.spec
    if spec.update_volumes_strategy not in (None, "Replacement", "Migration"):
        yield not_supported("spec.updateVolumesStrategy", f"Invalid strategy {spec.update_volumes_strategy!r}")
    yield from unbuilt.machine_spec("spec", spec)
    if spec.template is None:
        yield required("spec.template", "missing virtual machine template.")
    else:
        yield from spec_causes("spec.template.spec", defaults.instance_spec(spec.template.spec, config), config)


def _locks(old: v1.VirtualMachine, new: v1.VirtualMachine) -> Causes:
    restore, snapshot = new.status.restore_in_progress, new.status.snapshot_in_progress
    if restore and not _runs(old.spec) and _runs(new.spec):
        yield invalid("spec.runStrategy", f"Cannot update VM runStrategy until restore {restore!r} completes")
    if snapshot and old.spec != new.spec:
        yield invalid("spec", f"Cannot update VM spec until snapshot {snapshot!r} completes")


def _runs(spec: v1.VirtualMachineSpec) -> bool:
    return spec.strategy != "Halted"
