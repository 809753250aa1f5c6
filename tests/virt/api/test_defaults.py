"""What admission fills in."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from tests.fakes.patches import patched
from tests.virt.api.generated import instance_document, objects
from virt.api import codec, defaults, jsonpatch, names, v1
from virt.api.clusterconfig import ClusterConfig

CONFIG = ClusterConfig()
NOW = "2026-08-01T12:00:00Z"
UUID = "6b1b4a1c-2f3e-4c57-9e0a-000000000001"
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def defaulted(change: dict[str, Any] | None = None, config: ClusterConfig = CONFIG) -> v1.VirtualMachineInstance:
    document = jsonpatch.merged(instance_document(), change or {})
    vmi = codec.from_json(document, v1.VirtualMachineInstance)
    return defaults.instance(vmi, config, now=NOW, uuid=UUID)


def test_the_smallest_vmi_becomes_a_whole_one() -> None:
    vmi = codec.from_json({
        "metadata": {"name": "a"},
        "spec": {"domain": {"resources": {"requests": {"memory": "128Mi"}}},
                 "volumes": [{"name": "root", "containerDisk": {"image": "guest"}}]},
    }, v1.VirtualMachineInstance)
    assert codec.to_json(defaults.instance(vmi, CONFIG, now=NOW, uuid=UUID)) == {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "a", "finalizers": [names.VMI_FINALIZER]},
        "spec": {
            "architecture": "amd64",
            "domain": {
                "cpu": {"cores": 1, "sockets": 1, "threads": 1, "maxSockets": 4, "model": "host-model"},
                "devices": {
                    "disks": [{"name": "root", "disk": {"bus": "sata"}}],
                    "interfaces": [{"name": "default", "bridge": {}}],
                },
                "features": {"acpi": {"enabled": True}},
                "firmware": {"uuid": UUID},
                "machine": {"type": "q35"},
                "memory": {"guest": "128Mi"},
                "resources": {"requests": {"memory": "128Mi"}},
            },
            "evictionStrategy": "None",
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [{"name": "root", "containerDisk": {"image": "guest", "imagePullPolicy": "Always"}}],
        },
        "status": {
            "currentCPUTopology": {"cores": 1, "sockets": 1, "threads": 1},
            "memory": {"guestAtBoot": "128Mi", "guestCurrent": "128Mi", "guestRequested": "128Mi"},
            "phase": "Pending",
            "phaseTransitionTimestamps": [{"phase": "Pending", "phaseTransitionTimestamp": NOW}],
            "runtimeUser": 107,
        },
    }


@QUICK
@given(objects(v1.VirtualMachineInstance))
def test_defaults_of_a_vmi_are_filled_once(vmi: v1.VirtualMachineInstance) -> None:
    once = defaults.instance(vmi, CONFIG, now=NOW, uuid=UUID)
    assert defaults.instance(once, CONFIG, now=NOW, uuid="another") == once


@QUICK
@given(objects(v1.VirtualMachine))
def test_defaults_of_a_vm_are_filled_once(vm: v1.VirtualMachine) -> None:
    once = defaults.virtual_machine(vm, CONFIG, uuid=UUID, serial="s")
    assert defaults.virtual_machine(once, CONFIG, uuid="another", serial="another") == once


@QUICK
@given(objects(v1.VirtualMachineInstance))
def test_the_webhooks_patch_leads_to_the_defaults(vmi: v1.VirtualMachineInstance) -> None:
    after = defaults.instance(vmi, CONFIG, now=NOW, uuid=UUID)
    document = codec.to_json(vmi)
    result = patched(document, jsonpatch.difference(document, codec.to_json(after)))
    assert codec.from_json(result, v1.VirtualMachineInstance) == after


@pytest.mark.parametrize(("resources", "cpu", "topology", "request_"), [
    ({"limits": {"cpu": "2500m"}}, {}, (3, 1, 1), "2500m"),
    ({"requests": {"cpu": "1500m"}}, {}, (2, 1, 1), "1500m"),
    ({}, {"cores": 2}, (1, 2, 1), None),
    ({"requests": {"cpu": "3"}}, {"threads": 2}, (1, 1, 2), "3"),
    ({"requests": {"cpu": "nonsense"}}, {}, (1, 1, 1), "nonsense"),
])
def test_topology(
    resources: dict[str, Any], cpu: dict[str, int], topology: tuple[int, int, int], request_: str | None
) -> None:
    vmi = defaulted({"spec": {"domain": {"resources": resources, "cpu": cpu}}})
    given_cpu = vmi.spec.domain.cpu
    assert given_cpu is not None
    assert (given_cpu.sockets, given_cpu.cores, given_cpu.threads) == topology
    assert vmi.spec.domain.resources.requests.get("cpu") == request_


@pytest.mark.parametrize(("resources", "guest"), [
    ({"requests": {"memory": "128Mi"}}, "128Mi"),
    ({"requests": None, "limits": {"memory": "256Mi"}}, "256Mi"),
    ({"requests": {"memory": "-1"}, "limits": {"memory": "x"}}, None),
])
def test_guest_memory(resources: dict[str, Any], guest: str | None) -> None:
    memory = defaulted({"spec": {"domain": {"resources": resources}}}).spec.domain.memory
    assert (memory.guest if memory else None) == guest


@pytest.mark.parametrize(("image", "policy"), [
    ("guest", "Always"), ("guest:latest", "Always"), ("guest:1.2", "IfNotPresent"), ("guest@sha256:00", "IfNotPresent"),
    ("host:5000/guest", "Always"), ("host:5000/guest:1", "IfNotPresent"), ("", "Always"),
])
def test_pull_policy(image: str, policy: str) -> None:
    assert defaults.pull_policy(image) == policy


def test_every_volume_gets_a_disk_and_entries_keep_their_places() -> None:
    disks = defaulted().spec.domain.devices.disks
    assert [disk.name for disk in disks] == ["root", "seed", "scratch"]
    assert disks[0].disk == v1.DiskTarget(bus="virtio")
    assert disks[1].cdrom == v1.CDRomTarget(bus="sata", readonly=True, tray="closed")
    assert disks[2].disk == v1.DiskTarget(bus="sata")


def test_a_watchdog_resets_unless_it_says_what_else() -> None:
    for asked, action in (("", "reset"), ("poweroff", "poweroff")):
        devices = v1.Devices(watchdog=v1.Watchdog(name="dog", i6300esb=v1.I6300ESBWatchdog(action=asked)))
        spec = v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(devices=devices))
        found = defaults.instance_spec(spec, ClusterConfig()).domain.devices.watchdog
        assert found is not None
        assert found.i6300esb is not None
        assert (found.name, found.i6300esb.action) == ("dog", action)


def test_no_interface_when_told_so() -> None:
    vmi = defaulted({"spec": {"domain": {"devices": {"interfaces": None, "autoattachPodInterface": False}},
                              "networks": None}})
    assert vmi.spec.networks == ()
    assert vmi.spec.domain.devices.interfaces == ()


def test_the_clusters_settings_fill_in() -> None:
    config = ClusterConfig(
        cpu_model="Nehalem", cpu_request="200m", eviction_strategy="LiveMigrate",
        default_network_interface="masquerade",
    )
    vmi = defaulted({"spec": {"domain": {"devices": {"interfaces": None}}, "networks": None}}, config)
    cpu = vmi.spec.domain.cpu
    assert cpu is not None
    assert (cpu.model, cpu.sockets) == ("Nehalem", 1)
    assert vmi.spec.domain.resources.requests["cpu"] == "200m"
    assert vmi.spec.eviction_strategy == "LiveMigrate"
    assert vmi.spec.domain.devices.interfaces[0].masquerade is not None


def test_a_users_status_is_dropped() -> None:
    vmi = codec.from_json({"status": {"activePods": {"uid": "node"}, "phase": "Running"}}, v1.VirtualMachineInstance)
    status = defaults.instance(vmi, CONFIG, now=NOW, uuid=UUID).status
    assert (status.active_pods, status.phase) == ({}, "Pending")


def test_only_components_change_the_status() -> None:
    old = defaulted()
    new = replace(old, status=v1.VirtualMachineInstanceStatus(phase="Failed"))
    assert defaults.instance_update(old, new) == old


def test_a_vm_gets_an_identity_once() -> None:
    vm = v1.VirtualMachine(spec=v1.VirtualMachineSpec(template=v1.VirtualMachineInstanceTemplateSpec()))
    created = defaults.virtual_machine(vm, CONFIG, uuid=UUID, serial="serial-1")
    updated = defaults.virtual_machine(created, CONFIG, uuid="", serial="")
    template = updated.spec.template
    assert template is not None
    assert template.spec.domain.firmware == v1.Firmware(uuid=UUID, serial="serial-1")
    assert template.spec.domain.machine == v1.Machine(type="q35")
    assert template.metadata.annotations == {names.PCI_TOPOLOGY_ANNOTATION: "v3"}


def test_a_migration_is_findable_and_protected() -> None:
    migration = defaults.migration(
        v1.VirtualMachineInstanceMigration(spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name="guest"))
    )
    assert migration.metadata.labels == {names.MIGRATION_VMI_LABEL: "guest"}
    assert migration.metadata.finalizers == (names.MIGRATION_FINALIZER,)


LIVE_UPDATE = {"spec": {"domain": {"cpu": {"sockets": 3, "cores": 2}, "memory": {"guest": "1Gi"}}}}


def ceilings(change: dict[str, Any], **config: Any) -> tuple[int, Any]:
    domain = defaulted(change, ClusterConfig(**config)).spec.domain
    return (domain.cpu or v1.CPU()).max_sockets, (domain.memory or v1.Memory()).max_guest


@pytest.mark.parametrize(("domain", "config", "expected"), [
    ({}, {}, 12),
    ({}, {"max_hotplug_ratio": 2}, 6),
    ({}, {"max_cpu_sockets": 5}, 5),
    ({}, {"max_cpu_sockets": 2}, 3),
    ({}, {"rollout_strategy": "Stage"}, 0),
    ({"cpu": {"maxSockets": 7}}, {}, 7),
    ({"cpu": {"sockets": 100}}, {}, 256),
    ({"cpu": {"sockets": 200, "cores": 3}}, {}, 200),
])
def test_how_much_a_guest_may_come_to_have(domain: dict[str, Any], config: dict[str, Any], expected: int) -> None:
    assert ceilings(jsonpatch.merged(LIVE_UPDATE, {"spec": {"domain": domain}}), **config) == (expected, None)


def test_other_architectures_take_no_processors_while_they_run() -> None:
    assert ceilings(jsonpatch.merged(LIVE_UPDATE, {"spec": {"architecture": "arm64"}})) == (0, None)
