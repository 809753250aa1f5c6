from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tests.virt.handler.world import MAC, POD_IP, vmi
from virt.api import codec, conditions, v1
from virt.handler.vmi import migratable, status
from virt.handler.vmi.patch import status_patch
from virt.rpc.messages import DiskTarget, DomainState, DomainStatus, GuestInterface, WiredInterface

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOMAIN = DomainStatus(state=DomainState.RUNNING, machine="pc-q35-10.0", accelerator="kvm")
NETWORK = status.Network(
    wired=(WiredInterface(name="default", tap="tap0", mac=MAC, mtu=1500),), pod_addresses=(POD_IP,)
)


def test_a_guest_without_an_agent_has_exactly_these_facts() -> None:
    found = status.running(vmi("Running"), DOMAIN, NETWORK, NOW)
    assert codec.to_json(found.interfaces) == [{
        "name": "default", "mac": MAC, "ipAddress": POD_IP, "ipAddresses": [POD_IP], "infoSource": "domain",
        "queueCount": 1, "linkState": "up", "podInterfaceName": "eth0",
    }]
    assert [condition.type for condition in found.conditions] == ["LiveMigratable", "StorageLiveMigratable"]


def test_the_same_world_again_writes_nothing() -> None:
    before = vmi("Running")
    after = replace(before, status=status.running(before, DOMAIN, NETWORK, NOW))
    again = status.running(after, DOMAIN, None, datetime(2026, 2, 2, tzinfo=UTC))
    assert status_patch(after, again) is None


def test_a_bridged_guest_shows_its_own_addresses_behind_its_pods() -> None:
    bridged = v1.Interface(name="default", bridge=v1.InterfaceBridge())
    found = status.running(
        vmi("Running", domain=v1.DomainSpec(devices=v1.Devices(interfaces=(bridged,)))),
        replace(DOMAIN, agent_connected=True,
                guest_interfaces=(GuestInterface(name="eth0", mac=MAC.upper(), ips=("10.1.1.1", "fe80::1")),)),
        NETWORK, NOW,
    )
    pod = NETWORK.pod_addresses
    assert found.interfaces[0].ip_address == pod[0]
    assert found.interfaces[0].ip_addresses == (*pod, "10.1.1.1", "fe80::1")
    assert found.interfaces[0].info_source == "domain, guest-agent"


def test_what_a_guest_says_cannot_blow_up_the_object() -> None:
    name = "x" * 10**6
    liars = tuple(
        GuestInterface(name=name, mac=f"m{number}", ips=("1.1.1.1",) * 1000) for number in range(10000)
    )
    found = status.running(
        vmi("Running"), replace(DOMAIN, agent_connected=True, guest_interfaces=liars, guest_os={"name": "x" * 10**6}),
        NETWORK, NOW,
    )
    assert len(codec.encode(found)) < 64 * 1024
    assert len([entry for entry in found.interfaces if not entry.name]) == status.MAX_GUEST_INTERFACES


def test_of_two_links_with_one_mac_the_one_with_addresses_counts() -> None:
    told = (
        GuestInterface(name="br0", mac=MAC), GuestInterface(name="eth0", mac=MAC, ips=("10.0.2.2",)),
        GuestInterface(name="br1", mac=MAC),
    )
    found = status.running(
        vmi("Running"), replace(DOMAIN, agent_connected=True, guest_interfaces=told), NETWORK, NOW)
    assert [(entry.name, entry.interface_name) for entry in found.interfaces] == [("default", "eth0")]
    assert found.interfaces[0].ip_addresses == NETWORK.pod_addresses


def test_volumes_keep_what_the_controller_wrote_and_get_their_device() -> None:
    before = vmi("Running")
    claim = v1.PersistentVolumeClaimInfo(claim_name="c", access_modes=("ReadWriteOnce",))
    before = replace(before, status=replace(before.status, volume_status=(
        v1.VolumeStatus(name="data", phase="Ready", persistent_volume_claim_info=claim),
    )))
    found = status.running(before, replace(DOMAIN, disks=(
        DiskTarget(volume="data", target="vda", size=1024), DiskTarget(volume="seed", target="vdb"),
    )), NETWORK, NOW)
    assert found.volume_status == (
        v1.VolumeStatus(name="data", phase="Ready", persistent_volume_claim_info=claim, target="vda", size=1024),
        v1.VolumeStatus(name="seed", target="vdb"),
    )


def test_an_ended_guest_has_neither_agent_nor_pause() -> None:
    running = status.running(vmi("Running"), replace(
        DOMAIN, state=DomainState.PAUSED, reason="User", agent_connected=True, frozen=True), NETWORK, NOW)
    assert running.fs_freeze_status == "frozen"
    assert {"AgentConnected", "Paused"} <= {condition.type for condition in running.conditions}
    ended = status.ended(running)
    assert [condition.type for condition in ended.conditions] == ["LiveMigratable", "StorageLiveMigratable"]
    assert ended.fs_freeze_status == ""


def test_an_error_of_the_controller_is_not_taken_away() -> None:
    theirs = v1.Condition(type="Synchronized", status="False", reason="FailedPvcNotFound")
    before = replace(vmi().status, conditions=(theirs,))
    assert status.with_error(before, "", NOW) == before
    ours = status.with_error(before, "no", NOW)
    assert status.with_error(ours, "", NOW).conditions == ()


def test_a_patch_holds_only_what_changed_and_fails_on_a_race() -> None:
    before = vmi("Running")
    before = replace(
        before, metadata=replace(before.metadata, resource_version="7"),
        status=replace(before.status, fs_freeze_status="frozen",
                       guest_os_info=v1.VirtualMachineInstanceGuestOSInfo(name="a", id="b")),
    )
    after = replace(before.status, fs_freeze_status="", reason="x",
                    guest_os_info=v1.VirtualMachineInstanceGuestOSInfo(name="c"))
    assert status_patch(before, after) == {
        "metadata": {"resourceVersion": "7"},
        "status": {"fsFreezeStatus": None, "reason": "x", "guestOSInfo": {"name": "c", "id": None}},
    }


@pytest.mark.parametrize(("spec", "reason"), [
    ({}, ""),
    ({"domain": v1.DomainSpec(devices=v1.Devices(interfaces=(
        v1.Interface(name="default", bridge=v1.InterfaceBridge()),)))}, "InterfaceNotLiveMigratable"),
    ({"domain": v1.DomainSpec(devices=v1.Devices(host_devices=(v1.HostDevice(name="x"),)))},
     "HostDeviceNotLiveMigratable"),
    ({"domain": v1.DomainSpec(devices=v1.Devices(interfaces=(v1.Interface(name="x", sriov=v1.InterfaceSRIOV()),)))},
     ""),
    ({"domain": v1.DomainSpec(devices=v1.Devices(gpus=(v1.GPU(name="x"),)))}, "HostDeviceNotLiveMigratable"),
    ({"volumes": (v1.Volume(name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="c")),)},
     "DisksNotLiveMigratable"),
    ({"volumes": (v1.Volume(name="d", host_disk=v1.HostDisk(path="/x")),)}, "DisksNotLiveMigratable"),
    ({"volumes": (v1.Volume(name="shared", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(
        claim_name="c")),)}, ""),
])
def test_the_first_obstacle_to_a_migration_is_named(spec: dict[str, Any], reason: str) -> None:
    found = vmi("Running", **spec)
    shared = v1.PersistentVolumeClaimInfo(claim_name="c", access_modes=("ReadWriteMany",))
    found = replace(found, status=replace(found.status, volume_status=(
        v1.VolumeStatus(name="shared", persistent_volume_claim_info=shared),)))
    assert migratable.condition(found).reason == reason
    assert conditions.is_true((migratable.condition(found),), "LiveMigratable") == (not reason)


def test_a_claim_that_is_exchanged_is_no_obstacle_and_is_copied() -> None:
    source = v1.PersistentVolumeClaimInfo(claim_name="old", access_modes=("ReadWriteOnce",))
    moved = v1.StorageMigratedVolumeInfo(
        volume_name="d", source_pvc_info=source, destination_pvc_info=v1.PersistentVolumeClaimInfo(claim_name="new"))

    def on(claim: str, *exchanged: v1.StorageMigratedVolumeInfo) -> v1.VirtualMachineInstance:
        volume = v1.Volume(
            name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name=claim))
        disk = v1.Disk(name="d", disk=v1.DiskTarget(bus="virtio"))
        found = vmi("Running", volumes=(volume,), domain=v1.DomainSpec(devices=v1.Devices(disks=(disk,))))
        return replace(found, status=replace(
            found.status, migrated_volumes=exchanged,
            volume_status=(v1.VolumeStatus(name="d", persistent_volume_claim_info=source),)))

    asked, cancelled, quiet = on("new", moved), on("old", moved), on("old")
    assert migratable.condition(asked).status == "True"
    assert [migratable.condition(each).reason for each in (cancelled, quiet)] == ["DisksNotLiveMigratable"] * 2
    assert [migratable.method(each) for each in (asked, cancelled, quiet)] == [
        "BlockMigration", "LiveMigration", "LiveMigration"]
    # The copy that is under way is that of the status, whatever is asked for meanwhile.
    assert [migratable.copied_volumes(each) for each in (asked, cancelled, quiet)] == [("d",), ("d",), ()]


def test_disks_are_no_obstacle_to_a_move_with_its_storage() -> None:
    claim = v1.Volume(name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="c"))
    assert migratable.storage_condition(vmi("Running", volumes=(claim,))).status == "True"
    bridge = v1.DomainSpec(devices=v1.Devices(
        interfaces=(v1.Interface(name="default", bridge=v1.InterfaceBridge()),),
        host_devices=(v1.HostDevice(name="card"),)))
    found = migratable.storage_condition(vmi("Running", volumes=(claim,), domain=bridge))
    assert (found.status, found.reason) == ("False", "NotMigratable")
    assert "default" in found.message
    assert "card" in found.message
    assert "claim" not in found.message


@pytest.mark.parametrize(("volume", "disk", "copied"), [
    (v1.Volume(name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource()), v1.Disk(name="d"), False),
    (v1.Volume(name="d", container_disk=v1.ContainerDiskSource()), v1.Disk(name="d", disk=v1.DiskTarget()), True),
    (v1.Volume(name="d", container_disk=v1.ContainerDiskSource()), v1.Disk(name="d", cdrom=v1.CDRomTarget()), False),
    (v1.Volume(name="d", container_disk=v1.ContainerDiskSource()),
     v1.Disk(name="d", disk=v1.DiskTarget(readonly=True)), False),
    (v1.Volume(name="d", empty_disk=v1.EmptyDiskSource()), v1.Disk(name="d"), True),
    (v1.Volume(name="d", cloud_init_no_cloud=v1.CloudInitNoCloudSource()),
     v1.Disk(name="d", disk=v1.DiskTarget(bus="virtio")), False),
    (v1.Volume(name="d", cloud_init_no_cloud=v1.CloudInitNoCloudSource()),
     v1.Disk(name="d", disk=v1.DiskTarget(bus="sata")), True),
    (v1.Volume(name="d", empty_disk=v1.EmptyDiskSource()), v1.Disk(name="other"), False),
])
def test_what_goes_along_with_a_guest(volume: v1.Volume, disk: v1.Disk, copied: bool) -> None:
    found = vmi(volumes=(volume,), domain=v1.DomainSpec(devices=v1.Devices(disks=(disk,))))
    assert migratable.copied_volumes(found) == (("d",) if copied else ())


@pytest.mark.parametrize(("volume", "disk", "method"), [
    (v1.Volume(name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource()), v1.Disk(name="d"),
     "LiveMigration"),
    (v1.Volume(name="d", container_disk=v1.ContainerDiskSource()), v1.Disk(name="d"), "BlockMigration"),
    (v1.Volume(name="d", cloud_init_no_cloud=v1.CloudInitNoCloudSource()), v1.Disk(name="d", cdrom=v1.CDRomTarget()),
     "LiveMigration"),
    (v1.Volume(name="d", config_map=v1.ConfigMapVolumeSource()), v1.Disk(name="d", disk=v1.DiskTarget(readonly=True)),
     "LiveMigration"),
])
def test_disks_of_the_node_have_to_be_copied(volume: v1.Volume, disk: v1.Disk, method: str) -> None:
    found = vmi(volumes=(volume,), domain=v1.DomainSpec(devices=v1.Devices(disks=(disk,))))
    assert migratable.method(found) == method


@pytest.mark.parametrize(("commands", "is_told"), [
    ((), False), (tuple(status._AGENT_COMMANDS), False), (tuple(status._AGENT_COMMANDS - {"guest-get-users"}), True),
])
def test_an_agent_that_can_too_little_is_told(commands: tuple[str, ...], is_told: bool) -> None:
    domain = replace(DOMAIN, agent_connected=True, agent_commands=commands)
    found = conditions.find(
        status.running(vmi("Running"), domain, NETWORK, NOW).conditions, "AgentVersionNotSupported")
    assert (found is not None and "guest-get-users" in found.reason) == is_told
