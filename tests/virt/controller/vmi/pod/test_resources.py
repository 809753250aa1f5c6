import pytest
from msgspec.structs import replace

from virt.api import core, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.quantity import MIB
from virt.controller.vmi.pod import resources

CONFIG = ClusterConfig()


def spec(**fields: object) -> v1.VirtualMachineInstanceSpec:
    return v1.VirtualMachineInstanceSpec(
        domain=v1.DomainSpec(**{"memory": v1.Memory(guest="512Mi"), **fields}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "config", "mib"), [
    (spec(), CONFIG, 240 + 1 + 8 + 8 + 32),
    (spec(cpu=v1.CPU(cores=4)), CONFIG, 240 + 1 + 4 * 8 + 8 + 32),
    (spec(devices=v1.Devices(autoattach_graphics_device=False)), CONFIG, 240 + 1 + 8 + 8),
    (spec(devices=v1.Devices(tpm=v1.TPMDevice())), CONFIG, 240 + 1 + 8 + 8 + 32 + 53),
    (spec(devices=v1.Devices(gpus=(v1.GPU(name="a", device_name="x/a"),))), CONFIG, 240 + 1 + 8 + 8 + 32 + 1024),
    (spec(devices=v1.Devices(interfaces=(v1.Interface(name="a", sriov=v1.InterfaceSRIOV()),))), CONFIG,
     240 + 1 + 8 + 8 + 32 + 1024),
    (spec(), ClusterConfig(additional_guest_memory_overhead_ratio="2"), 2 * (240 + 1 + 8 + 8 + 32)),
    (spec(resources=v1.ResourceRequirements(requests={"cpu": "1", "memory": "512Mi"},
                                            limits={"cpu": "1000m", "memory": "512Mi"})),
     CONFIG, 240 + 1 + 8 + 8 + 32 + 100),
    (replace(spec(), readiness_probe=v1.Probe(exec=core.ExecAction(command=("true",)))),
     CONFIG, 240 + 1 + 8 + 8 + 32 + 100 + 10),
    (replace(spec(), readiness_probe=v1.Probe(guest_agent_ping=v1.GuestAgentPing())), CONFIG, 240 + 1 + 8 + 8 + 32),
])
def test_overhead(given: v1.VirtualMachineInstanceSpec, config: ClusterConfig, mib: int) -> None:
    assert resources.overhead_bytes(given, config) == mib * MIB


@pytest.mark.parametrize(("given", "config", "requests"), [
    (spec(), CONFIG, {"cpu": "100m", "memory": f"{512 + 289}Mi"}),
    (spec(cpu=v1.CPU(sockets=2, cores=5)), CONFIG, {"cpu": "1", "memory": f"{512 + 289 + 9 * 8}Mi"}),
    (spec(), ClusterConfig(cpu_allocation_ratio=1, memory_overcommit=200), {"cpu": "1", "memory": f"{256 + 289}Mi"}),
    (spec(resources=v1.ResourceRequirements(requests={"memory": "1Gi", "cpu": "50m"})), CONFIG,
     {"cpu": "50m", "memory": f"{1024 + 289}Mi"}),
    (spec(resources=v1.ResourceRequirements(overcommit_guest_overhead=True)), CONFIG,
     {"cpu": "100m", "memory": "512Mi"}),
])
def test_requests(given: v1.VirtualMachineInstanceSpec, config: ClusterConfig, requests: dict[str, str]) -> None:
    found = resources.compute(given, config).requests
    assert {name: found[name] for name in requests} == requests


def test_the_overhead_that_is_not_requested_still_is_no_reason_to_be_killed() -> None:
    asked = v1.ResourceRequirements(limits={"memory": "512Mi"}, overcommit_guest_overhead=True)
    assert resources.compute(spec(resources=asked), CONFIG).limits["memory"] == f"{512 + 289}Mi"


@pytest.mark.parametrize("kind", ["container-disk", "guest-console-log"])
@pytest.mark.parametrize("config", [CONFIG, ClusterConfig(support_container_resources={
    "container-disk": core.ResourceRequirements(requests={"memory": "2M"}),
    "guest-console-log": core.ResourceRequirements(limits={"cpu": "20m"}),
})])
def test_containers_of_a_guaranteed_pod_request_their_limits(kind: str, config: ClusterConfig) -> None:
    found = resources.sidecar(kind, config, guaranteed=True)
    assert {name: found.requests[name] for name in ("cpu", "memory")} == {
        name: found.limits[name] for name in ("cpu", "memory")}
    assert "cpu" not in resources.sidecar("container-disk", config).limits


def test_a_quota_of_limits_gives_each_container_some() -> None:
    found = resources.compute(spec(cpu=v1.CPU(cores=3)), CONFIG, limited=("cpu", "memory"))
    assert (found.limits["cpu"], found.limits["memory"]) == ("3", f"{2 * (512 + 289 + 2 * 8)}Mi")
    own = v1.ResourceRequirements(requests={"cpu": "1500m"}, limits={"memory": "600Mi"})
    found = resources.compute(spec(resources=own), CONFIG, limited=("cpu", "memory"))
    assert (found.limits["cpu"], found.limits["memory"]) == ("2", f"{600 + 289}Mi")
    for kind in ("container-disk", "guest-console-log"):
        assert {"cpu", "memory"} <= set(resources.sidecar(kind, CONFIG, limited=("cpu",)).limits)


def test_kvm_is_asked_for_unless_emulation_is_on() -> None:
    assert set(resources.compute(spec(), CONFIG).limits) == {"devices.kubevirt.io/tun", "devices.kubevirt.io/kvm"}
    assert set(resources.compute(spec(), ClusterConfig(use_emulation=True)).limits) == {"devices.kubevirt.io/tun"}
