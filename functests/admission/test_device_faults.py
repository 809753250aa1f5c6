"""Faults of disks, volumes and networks, in tables: each is refused at its own field while the control is admitted.

Refused means 422 with exactly one cause. All are dry runs, nothing is stored; a table reports all its misses at once.
"""

from typing import Any

import pytest

from functests.libs import build, refusal
from functests.libs.build import Manifest, merged
from functests.libs.cluster import Cluster
from functests.libs.kube import Space


@pytest.mark.case("ADM-020")
def test_impossible_disks_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with two disks of one name, a bad name, two targets, unknown buses, impossible targets.
    Expected: 422 at the field of each.
    """
    path = "spec.domain.devices.disks"
    disk = f"{path}[0]"

    def only(**entry: Any) -> Manifest:
        return build.devices_patch(disks=[{"name": "root", **entry}])

    image = {"containerDisk": {"image": cluster.image("tiny")}}
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("two of one name", f"{path}[1].name", build.devices_patch(disks=[build.ROOT_DISK, build.ROOT_DISK])),
        ("a bad name", f"{disk}.name",
         {"spec": {"volumes": [{"name": "My_Disk", **image}],
                   "domain": {"devices": {"disks": [{"name": "My_Disk", "disk": {"bus": "virtio"}}]}}}}),
        ("disk and cdrom", disk, only(disk={"bus": "virtio"}, cdrom={"bus": "sata"})),
        ("bus ide", f"{disk}.disk.bus", only(disk={"bus": "ide"})),
        ("bus fire", f"{disk}.disk.bus", only(disk={"bus": "fire"})),
        ("cdrom on virtio", f"{disk}.cdrom.bus", only(cdrom={"bus": "virtio"})),
        ("read-only on sata", f"{disk}.disk.bus", only(disk={"bus": "sata", "readonly": True})),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-021")
def test_impossible_disk_settings_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with impossible boot orders, serials, cache, I/O mode and error policy.
    Expected: 422 at the field of each.
    """
    disk = "spec.domain.devices.disks[0]"

    def with_(**entry: Any) -> Manifest:
        return build.devices_patch(disks=[{**build.ROOT_DISK, **entry}])

    twice = {"disks": [{**build.ROOT_DISK, "bootOrder": 1}], "interfaces": [{**build.NIC, "bootOrder": 1}]}
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("boot order 0", f"{disk}.bootOrder", with_(bootOrder=0)),
        ("one order twice", "spec.domain.devices.interfaces[0].bootOrder", build.devices_patch(**twice)),
        ("space in the serial", f"{disk}.serial", with_(serial="a b")),
        ("257 characters", f"{disk}.serial", with_(serial="s" * 257)),
        ("cache", f"{disk}.cache", with_(cache="fast")),
        ("io", f"{disk}.io", with_(io="uring")),
        ("error policy", f"{disk}.errorPolicy", with_(errorPolicy="panic")),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-022")
def test_impossible_volumes_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with two volumes of one name, a volume without source, one with two.
    Expected: 422 at the field of each.
    """
    volume = {"name": "root", "containerDisk": {"image": cluster.image("tiny")}}
    two = {**volume, "emptyDisk": {"capacity": "1Mi"}}
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("two of one name", "spec.volumes[1].name", build.spec_patch(volumes=[volume, volume])),
        ("no source", "spec.volumes[0]", build.spec_patch(volumes=[{"name": "root"}])),
        ("two sources", "spec.volumes[0]", build.spec_patch(volumes=[two])),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-023")
def test_impossible_cloud_init_is_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with 2048 bytes of user data is admitted (the control).
    Steps: create it with bad base64, two sources, too many bytes, letters of two bytes, no data.
    Expected: 422 at the volume's cloudInitNoCloud; the limit counts bytes.
    """
    def with_(**source: Any) -> Manifest:
        return build.with_disk(build.disk_boot_vmi(cluster, "vm"), "seed", {"cloudInitNoCloud": source})

    control = space.try_create(with_(userData="x" * 2048), dry_run=True)
    assert control.code == 201, control.text
    misses = []
    for what, source in (
        ("bad base64", {"userDataBase64": "###"}),
        ("two sources", {"userData": "#cloud-config", "secretRef": {"name": "seed"}}),
        ("2049 bytes", {"userData": "x" * 2049}),
        ("1025 letters of two bytes", {"userData": "é" * 1025}),
        ("2049 bytes for the network", {"userData": "#cloud-config", "networkData": "x" * 2049}),
        ("no data", {}),
    ):
        answer = space.try_create(with_(**source), dry_run=True)
        fields = [str(cause.get("field")) for cause in answer.causes]
        if answer.code != 422 or len(fields) != 1 or not fields[0].startswith("spec.volumes[1]"):
            misses.append(f"{what}: {answer.code} at {fields}: {answer.message[:300]}")
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-026")
def test_networks_and_interfaces_must_match(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with an interface without network, a network without interface, two of one, two of the pod.
    Expected: 422 at the field of each.
    """
    nics, networks = "spec.domain.devices.interfaces", "spec.networks"
    pod = {"name": "default", "pod": {}}
    other = {"name": "other", "masquerade": {}}
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("interface without network", f"{nics}[1].name", build.devices_patch(interfaces=[build.NIC, other])),
        ("network without interface", f"{networks}[0].name", build.devices_patch(interfaces=None)),
        ("two interfaces of one network", f"{nics}[1].name", build.devices_patch(interfaces=[build.NIC, build.NIC])),
        ("two pod networks", "spec.interfaces",
         {"spec": {"networks": [pod, {"name": "other", "pod": {}}],
                   "domain": {"devices": {"interfaces": [build.NIC, other]}}}}),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-027")
def test_impossible_interfaces_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with two bindings, bad MAC addresses, an unknown model, a bad name, slirp.
    Expected: 422 at the field of each; slirp is said to be discontinued.
    """
    nic = "spec.domain.devices.interfaces[0]"

    def with_(**entry: Any) -> Manifest:
        return build.devices_patch(interfaces=[{**build.NIC, **entry}])

    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("MAC of the pod's own side", f"{nic}.macAddress", with_(macAddress="02:00:00:00:00:00")),
        ("short MAC", f"{nic}.macAddress", with_(macAddress="de:ad")),
        ("unknown model", f"{nic}.model", with_(model="rtl9999")),
        ("unknown state", f"{nic}.state", with_(state="sideways")),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)
    by_slirp = build.devices_patch(interfaces=[{"name": "default", "slirp": {}}])
    slirp = space.try_create(merged(build.disk_boot_vmi(cluster, "vm"), by_slirp))
    assert (slirp.code, "discontinued" in slirp.message.lower()) == (422, True), slirp.text


@pytest.mark.case("ADM-028")
def test_impossible_ports_and_dhcp_options_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with a port that is admitted (the control).
    Steps: create it with an unknown protocol, no port, port 65536, two of one name, bad DHCP options.
    Expected: 422 at the field of each.
    """
    nic = "spec.domain.devices.interfaces[0]"
    with_port = build.devices_patch(interfaces=[{**build.NIC, "ports": [{"name": "ssh", "port": 22}]}])
    control = merged(build.disk_boot_vmi(cluster, "vm"), with_port)

    def ports(*entries: Any) -> Manifest:
        return build.devices_patch(interfaces=[{**build.NIC, "ports": list(entries)}])

    def dhcp(**options: Any) -> Manifest:
        return build.devices_patch(interfaces=[{**build.NIC, "dhcpOptions": options}])

    misses = refusal.misses(space, control, [
        ("SCTP", f"{nic}.ports[0].protocol", ports({"port": 22, "protocol": "SCTP"})),
        ("65536", f"{nic}.ports[0].port", ports({"port": 65536})),
        ("two of one name", f"{nic}.ports[1].name", ports({"name": "a", "port": 22}, {"name": "a", "port": 23})),
        ("NTP server by IPv6", f"{nic}.dhcpOptions.ntpServers[0]", dhcp(ntpServers=["fd00::1"])),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)
