"""Every rule for a VMI's spec: the fault is found at its field, and without the fault there is nothing to find."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fakes.patches import merged
from tests.virt.api.generated import instance_document, objects
from virt.api import codec, defaults, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import StatusCause
from virt.api.validate import instance, machine

CONFIG = ClusterConfig(default_network_interface="masquerade")
UUID = "6b1b4a1c-2f3e-4c57-9e0a-000000000001"
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def judged(change: dict[str, Any], config: ClusterConfig = CONFIG) -> tuple[StatusCause, ...]:
    document = merged(instance_document(), {"spec": change})
    vmi = codec.from_json(document, v1.VirtualMachineInstance)
    return instance.create(defaults.instance(vmi, config, now="", uuid=UUID), config)


def domain(**change: Any) -> dict[str, Any]:
    return {"domain": change}


def disk(**change: Any) -> dict[str, Any]:
    """The first disk with ``change``; the others get theirs by default."""
    return domain(devices={"disks": [{"name": "root", **change}]})


def interface(**change: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": "default", "masquerade": {}, **change}
    return domain(devices={"interfaces": [{key: value for key, value in entry.items() if value is not None}]})


def volume(name: str = "root", **source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": name, **source}], **domain(devices={"disks": []})}


def kernel(**boot: Any) -> dict[str, Any]:
    return domain(firmware={"kernelBoot": boot})


def probe(**change: Any) -> dict[str, Any]:
    return {"readinessProbe": change}


TCP = {"tcpSocket": {"port": 22}}
IMAGE = {"image": "kernel:1", "kernelPath": "/boot/vmlinuz"}
NO_NETWORK = {"networks": None, **domain(devices={"interfaces": None, "autoattachPodInterface": False})}

ADMITTED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "kernel boot": kernel(kernelArgs="console=ttyS0", container=IMAGE),
    "probe": probe(**TCP),
    "disk options": disk(serial="a.b_c+d-1", cache="none", bootOrder=1),
    "paused start": {"startStrategy": "Paused"},
    "dhcp": interface(dhcpOptions={"privateOptions": [{"option": 240, "value": "x"}], "ntpServers": ["10.0.0.1"]}),
    "ports": interface(ports=[{"name": "ssh", "port": 22}, {"port": 53, "protocol": "UDP"}]),
    "cpu": domain(cpu={"cores": 2, "features": [{"name": "vmx", "policy": "disable"}], "model": "Nehalem"}),
    "bios on the serial port": domain(firmware={"bootloader": {"bios": {"useSerial": True}}}),
    "guest above the limit, live update": domain(memory={"guest": "256Mi"}, resources={"limits": {"memory": "128Mi"}}),
    "markup in every string": domain(firmware={"serial": "<a>&\"'</a>"}),
    "2048 bytes of user data": volume(cloudInitNoCloud={"userData": "x" * 2048}),
}

# title: (change, field of the fault)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "negative memory": (domain(resources={"requests": {"memory": "-1Mi"}}), "spec.domain.resources.requests.memory"),
    "negative limit": (domain(resources={"limits": {"memory": "-1Mi"}}), "spec.domain.resources.limits.memory"),
    "tiny memory": (domain(resources={"requests": {"memory": "512k"}}), "spec.domain.resources.requests.memory"),
    "memory over limit": (domain(resources={"limits": {"memory": "64Mi"}}), "spec.domain.resources.requests.memory"),
    "no quantity": (domain(resources={"requests": {"memory": "lots"}}), "spec.domain.resources.requests.memory"),
    "cpu over limit": (domain(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
                       "spec.domain.resources.requests.cpu"),
    "negative cpu": (domain(resources={"requests": {"cpu": "-1"}}), "spec.domain.resources.requests.cpu"),
    "negative cores": (domain(cpu={"cores": -1}), "spec.domain.cpu.cores"),
    "too many sockets": (domain(cpu={"sockets": 513}), "spec.domain.cpu.sockets"),
    "sockets over the maximum": (domain(cpu={"sockets": 4, "maxSockets": 2}), "spec.domain.cpu.sockets"),
    "cpu feature policy": (domain(cpu={"features": [{"name": "vmx", "policy": "maybe"}]}),
                           "spec.domain.cpu.features[0].policy"),
    "machine type": (domain(machine={"type": "pc-i440fx-2.10"}), "spec.domain.machine.type"),
    "architecture": ({"architecture": "sparc"}, "spec.architecture"),
    "two bootloaders": (domain(firmware={"bootloader": {"bios": {}, "efi": {"secureBoot": False}}}),
                        "spec.domain.firmware.bootloader"),
    "secure boot without SMM": (domain(firmware={"bootloader": {"efi": {}}}), "spec.domain"),
    "kernel arguments alone": (kernel(kernelArgs="x"), "spec.domain.firmware.kernelBoot.kernelArgs"),
    "kernel without image": (kernel(container={**IMAGE, "image": ""}),
                             "spec.domain.firmware.kernelBoot.container.image"),
    "kernel without paths": (kernel(container={"image": "i"}), "spec.domain.firmware.kernelBoot.container"),
    "kernel path is the root": (kernel(container={**IMAGE, "kernelPath": "/"}),
                                "spec.domain.firmware.kernelBoot.container.kernelPath"),
    "initrd path climbs": (kernel(container={**IMAGE, "initrdPath": "/disk/../../etc/shadow"}),
                           "spec.domain.firmware.kernelBoot.container.initrdPath"),
    "hostname": ({"hostname": "Bad_Host"}, "spec.hostname"),
    "long hostname": ({"hostname": "a" * 64}, "spec.hostname"),
    "subdomain": ({"subdomain": "-a"}, "spec.subdomain"),
    "spread": (
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]},
        "spec.topologySpreadConstraints[0].maxSkew",
    ),
    "dns policy": ({"dnsPolicy": "Foo"}, "spec.dnsPolicy"),
    "dns policy None": ({"dnsPolicy": "None"}, "spec.dnsConfig"),
    "no nameserver": ({"dnsPolicy": "None", "dnsConfig": {}}, "nameservers"),
    "nameserver": ({"dnsConfig": {"nameservers": ["x"]}}, "nameservers"),
    "four nameservers": ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, "nameservers"),
    "long search list": ({"dnsConfig": {"searches": ["a" * 63 + "." + "b" * 63] * 3}}, "searchDomains"),
    "eviction strategy": ({"evictionStrategy": "Maybe"}, "spec.evictionStrategy"),
    "start strategy": ({"startStrategy": "Stopped"}, "spec.startStrategy"),
    "paused start with probe": ({"startStrategy": "Paused", "livenessProbe": TCP}, "spec.startStrategy"),
    "two probes": (probe(**TCP, httpGet={"port": 80}), "spec.readinessProbe"),
    "no probe": (probe(periodSeconds=3), "spec.readinessProbe"),
    "probe without network": ({**NO_NETWORK, **probe(httpGet={"port": 80})}, "spec.readinessProbe.httpGet"),
    "probe port": (probe(tcpSocket={"port": 0}), "spec.readinessProbe.tcpSocket.port"),
    "two disks of a name": (domain(devices={"disks": [{"name": "root"}, {"name": "root"}]}),
                            "spec.domain.devices.disks[1].name"),
    "disk without volume": (domain(devices={"disks": [{"name": "ghost"}]}), "spec.domain.devices.disks[0].name"),
    "disk name": (volume("My_Disk", emptyDisk={"capacity": "1Gi"}), "spec.domain.devices.disks[0].name"),
    "two targets": (disk(disk={}, cdrom={}), "spec.domain.devices.disks[0]"),
    "ide": (disk(disk={"bus": "ide"}), "spec.domain.devices.disks[0].disk.bus"),
    "unknown bus": (disk(disk={"bus": "fire"}), "spec.domain.devices.disks[0].disk.bus"),
    "cdrom on virtio": (disk(cdrom={"bus": "virtio"}), "spec.domain.devices.disks[0].cdrom.bus"),
    "read-only sata": (disk(disk={"bus": "sata", "readonly": True}), "spec.domain.devices.disks[0].disk.bus"),
    "boot order 0": (disk(bootOrder=0), "spec.domain.devices.disks[0].bootOrder"),
    "same boot order": (domain(devices={"disks": [{"name": "root", "bootOrder": 1}, {"name": "seed", "bootOrder": 1}]}),
                        "spec.domain.devices.disks[1].bootOrder"),
    "serial": (disk(serial="a b"), "spec.domain.devices.disks[0].serial"),
    "long serial": (disk(serial="a" * 257), "spec.domain.devices.disks[0].serial"),
    "cache": (disk(cache="fast"), "spec.domain.devices.disks[0].cache"),
    "io": (disk(io="uring"), "spec.domain.devices.disks[0].io"),
    "error policy": (disk(errorPolicy="panic"), "spec.domain.devices.disks[0].errorPolicy"),
    "no source": (volume(), "spec.volumes[0]"),
    "two sources": (volume(emptyDisk={"capacity": "1Gi"}, containerDisk={"image": "i:1"}), "spec.volumes[0]"),
    "two volumes of a name": ({"volumes": [{"name": "root", "emptyDisk": {"capacity": "1Gi"}}] * 2,
                               **domain(devices={"disks": []})}, "spec.volumes[1].name"),
    "empty disk without size": (volume(emptyDisk={}), "spec.volumes[0].emptyDisk.capacity"),
    "container disk path": (volume(containerDisk={"image": "i:1", "path": "disk/img"}),
                            "spec.volumes[0].containerDisk"),
    "container disk root": (volume(containerDisk={"image": "i:1", "path": "/"}), "spec.volumes[0].containerDisk"),
    "claim without name": (volume(persistentVolumeClaim={}), "spec.volumes[0].persistentVolumeClaim.claimName"),
    "config map without name": (volume(configMap={}), "spec.volumes[0].configMap.name"),
    "broken base64": (volume(cloudInitNoCloud={"userDataBase64": "###"}),
                      "spec.volumes[0].cloudInitNoCloud.userDataBase64"),
    "two user data": (volume(cloudInitNoCloud={"userData": "x", "secretRef": {"name": "s"}}),
                      "spec.volumes[0].cloudInitNoCloud"),
    "2049 bytes": (volume(cloudInitNoCloud={"userData": "x" * 2049}), "spec.volumes[0].cloudInitNoCloud"),
    "1025 letters of two bytes": (volume(cloudInitNoCloud={"userData": "ß" * 1025}),
                                  "spec.volumes[0].cloudInitNoCloud"),
    "network data": (volume(cloudInitConfigDrive={"networkData": "x" * 2049}), "spec.volumes[0].cloudInitConfigDrive"),
    "no data": (volume(cloudInitNoCloud={}), "spec.volumes[0].cloudInitNoCloud"),
    "host disk gate": (volume(hostDisk={"path": "/a", "type": "Disk"}), "spec.volumes[0]"),
    "interface without network": (domain(devices={"interfaces": [{"name": "other", "masquerade": {}}]}),
                                  "spec.domain.devices.interfaces[0].name"),
    "network without interface": ({"networks": [{"name": "default", "pod": {}}, {"name": "other", "pod": {}}]},
                                  "spec.networks[1].name"),
    "two interfaces on a network": (domain(devices={"interfaces": [{"name": "default", "masquerade": {}}] * 2}),
                                    "spec.domain.devices.interfaces[1].name"),
    "two pod networks": ({"networks": [{"name": "default", "pod": {}}, {"name": "other", "pod": {}}]},
                         "spec.interfaces"),
    "network without type": ({"networks": [{"name": "default"}]}, "spec.networks[0]"),
    "network of two types": ({"networks": [{"name": "default", "pod": {}, "multus": {"networkName": "a"}}]},
                             "spec.networks[0]"),
    "default and pod network": ({"networks": [{"name": "default", "pod": {}},
                                              {"name": "m", "multus": {"networkName": "a", "default": True}}]},
                                "spec.networks"),
    "network range": ({"networks": [{"name": "default", "pod": {"vmNetworkCIDR": "10.0.2.0/33"}}]},
                      "spec.networks[0].pod.vmNetworkCIDR"),
    "no binding": (interface(masquerade=None), "spec.domain.devices.interfaces[0]"),
    "masquerade off the pod network": ({"networks": [{"name": "default", "multus": {"networkName": "a"}}]},
                                       "spec.domain.devices.interfaces[0].name"),
    "reserved mac": (interface(macAddress="02-00-00-00-00-00"), "spec.domain.devices.interfaces[0].macAddress"),
    "short mac": (interface(macAddress="de:ad"), "spec.domain.devices.interfaces[0].macAddress"),
    "multicast mac": (interface(macAddress="01:00:00:00:00:01"), "spec.domain.devices.interfaces[0].macAddress"),
    "model": (interface(model="rtl9999"), "spec.domain.devices.interfaces[0].model"),
    "slirp": (interface(masquerade=None, slirp={}), "spec.domain.devices.interfaces[0].name"),
    "state": (interface(state="sideways"), "spec.domain.devices.interfaces[0].state"),
    "absent on masquerade": (interface(state="absent"), "spec.domain.devices.interfaces[0].state"),
    "port protocol": (interface(ports=[{"port": 1, "protocol": "SCTP"}]),
                      "spec.domain.devices.interfaces[0].ports[0].protocol"),
    "port missing": (interface(ports=[{}]), "spec.domain.devices.interfaces[0].ports[0].port"),
    "port range": (interface(ports=[{"port": 65536}]), "spec.domain.devices.interfaces[0].ports[0].port"),
    "port name twice": (interface(ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]),
                        "spec.domain.devices.interfaces[0].ports[1].name"),
    "private option": (interface(dhcpOptions={"privateOptions": [{"option": 223}]}),
                       "spec.domain.devices.interfaces[0].dhcpOptions.privateOptions[0].option"),
    "ntp server": (interface(dhcpOptions={"ntpServers": ["fe80::1"]}),
                   "spec.domain.devices.interfaces[0].dhcpOptions.ntpServers[0]"),
    "clock": (domain(clock={"utc": {}, "timezone": "Europe/Vienna"}), "spec.domain.clock"),
    "input bus": (domain(devices={"inputs": [{"name": "t", "type": "tablet", "bus": "ps2"}]}),
                  "spec.domain.devices.inputs[0].bus"),
    "control character": (domain(firmware={"serial": "a\x01"}), "spec.domain.firmware.serial"),
    "firmware uuid": (domain(firmware={"uuid": "x"}), "spec.domain.firmware.uuid"),
}


@pytest.mark.parametrize("title", ADMITTED)
def test_admitted(title: str) -> None:
    assert judged(ADMITTED[title]) == ()


@pytest.mark.parametrize("title", REFUSED)
def test_refused_at_its_field(title: str) -> None:
    change, field = REFUSED[title]
    causes = judged(change)
    assert field in [cause.field for cause in causes]
    assert all(cause.message and cause.reason for cause in causes)


@pytest.mark.parametrize("title", [title for title in REFUSED if not REFUSED[title][1].startswith(("name", "search"))])
def test_refused_in_a_vm_at_the_templates_field(title: str) -> None:
    change, field = REFUSED[title]
    spec = merged(instance_document(), {"spec": change})["spec"]
    vm = codec.from_json({"spec": {"runStrategy": "Always", "template": {"spec": spec}}}, v1.VirtualMachine)
    assert field.replace("spec", "spec.template.spec", 1) in [cause.field for cause in machine.create(vm, CONFIG)]


def test_a_limit_below_the_guest_is_refused_under_stage() -> None:
    change = ADMITTED["guest above the limit, live update"]
    causes = judged(change, ClusterConfig(rollout_strategy="Stage"))
    assert "spec.domain.memory.guest" in [cause.field for cause in causes]


def test_bridge_can_be_forbidden_on_the_pod_network() -> None:
    change = interface(masquerade=None, bridge={})
    assert judged(change) == ()
    (cause,) = judged(change, ClusterConfig(permit_bridge_on_pod_network=False))
    assert cause.field == "spec.domain.devices.interfaces[0].name"


@QUICK
@given(objects(v1.VirtualMachineInstance))
def test_no_vmi_breaks_the_rules_themselves(vmi: v1.VirtualMachineInstance) -> None:
    instance.create(vmi, CONFIG)
    instance.create(defaults.instance(vmi, CONFIG, now="", uuid=UUID), CONFIG)
    instance.update(vmi, defaults.instance(vmi, CONFIG, now="", uuid=UUID), by_component=False)


@QUICK
@given(objects(v1.VirtualMachine))
def test_no_vm_breaks_the_rules_themselves(vm: v1.VirtualMachine) -> None:
    machine.create(vm, CONFIG)
    machine.update(v1.VirtualMachine(), vm, CONFIG)
