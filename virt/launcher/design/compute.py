"""Processors and memory."""

from dataclasses import replace

from virt.api import names, quantity, resize, v1
from virt.launcher.design.errors import DesignError
from virt.launcher.design.request import Request
from virt.launcher.domain import Cpu, CpuFeature, Domain

HOST_MODEL, HOST_PASSTHROUGH = "host-model", "host-passthrough"


def memory(request: Request) -> Domain:
    """What the guest sees: memory.guest, else the request, else the limit. In bytes."""
    asked, resources = request.asked.memory or v1.Memory(), request.asked.resources
    for path, amount in (
        ("spec.domain.memory.guest", asked.guest),
        ("spec.domain.resources.requests.memory", resources.requests.get("memory")),
        ("spec.domain.resources.limits.memory", resources.limits.get("memory")),
    ):
        if amount is None:
            continue
        try:
            count = quantity.integer(amount)
        except quantity.QuantityError as error:
            raise DesignError(path, str(error)) from error
        if count <= 0:
            raise DesignError(path, f"a guest cannot have {amount} of memory")
        return Domain(memory=count, memory_unit="b")
    raise DesignError("spec.domain.memory.guest", "no memory is asked for")


def processors(request: Request) -> Domain:
    cpu = request.asked.cpu or v1.CPU()
    model = cpu.model or request.facts.cluster_cpu_model or HOST_MODEL
    features = tuple(CpuFeature(policy=each.policy or "require", name=each.name) for each in cpu.features)
    if model in (HOST_MODEL, HOST_PASSTHROUGH):
        if request.facts.kvm:
            return _domain(request, Cpu(mode=model, features=features))
        model = request.facts.cluster_cpu_model
        if model in ("", HOST_MODEL, HOST_PASSTHROUGH):
            model = names.EMULATED_CPU_MODEL
    if not any(feature.name == "mpx" for feature in features):
        # QEMU's models still name it, processors and kernels no longer have it.
        features = (*features, CpuFeature(policy="disable", name="mpx"))
    return _domain(request, Cpu(
        mode="custom", match="exact", model=model, fallback="forbid", features=features,
        # TCG leaves out what it cannot emulate; libvirt's check would refuse the model instead.
        check="" if request.facts.kvm else "none",
    ))


def _domain(request: Request, cpu: Cpu) -> Domain:
    asked = request.asked.cpu or v1.CPU()
    most = resize.most_vcpus(asked)
    sockets = max(asked.max_sockets, asked.sockets, 1)
    cpu = replace(cpu, sockets=sockets, cores=asked.cores or 1, threads=asked.threads or 1)
    return Domain(
        vcpu_placement="static", vcpus=most, vcpus_now=request.vcpus if request.vcpus < most else None, cpu=cpu)
