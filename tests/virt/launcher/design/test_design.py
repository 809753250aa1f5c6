"""Decisions that the golden files do not show, and what is refused."""

from typing import Any

import pytest

from tests.virt.launcher.design.requests import EMULATED, disk_vmi, vmi
from virt.api import v1
from virt.launcher import design
from virt.launcher.design import DiskSource, Prepared
from virt.launcher.domain import Devices, Domain
from virt.rpc.messages import HostFacts, WiredInterface

KVM = HostFacts(kvm=True)
NOTHING = Prepared()
HEADLESS: dict[str, Any] = {"autoattachPodInterface": False}


def designed(domain: dict[str, Any], facts: HostFacts = EMULATED, prepared: Prepared = NOTHING) -> Domain:
    return design.domain_for(vmi({"devices": HEADLESS, **domain}), facts, prepared)


@pytest.mark.parametrize(("asked", "cluster", "kvm", "mode", "model"), [
    ("", "", True, "host-model", ""),
    ("host-passthrough", "", True, "host-passthrough", ""),
    ("host-model", "Nehalem", True, "host-model", ""),
    ("Westmere", "", True, "custom", "Westmere"),
    ("", "", False, "custom", "Nehalem"),
    ("host-model", "Westmere", False, "custom", "Westmere"),
    ("host-passthrough", "host-passthrough", False, "custom", "Nehalem"),
    ("Penryn", "Westmere", False, "custom", "Penryn"),
])
def test_cpu_model(asked: str, cluster: str, kvm: bool, mode: str, model: str) -> None:
    domain = designed({"cpu": {"model": asked}}, HostFacts(kvm=kvm, cluster_cpu_model=cluster))
    assert domain.cpu is not None
    assert (domain.cpu.mode, domain.cpu.model) == (mode, model)


@pytest.mark.parametrize(("domain", "expected"), [
    ({"memory": {"guest": "1Gi"}, "resources": {"requests": {"memory": "2Gi"}}}, 1 << 30),
    ({"memory": None, "resources": {"requests": {"memory": "1G"}}}, 10**9),
    ({"memory": None, "resources": {"limits": {"memory": "128Mi"}}}, 128 << 20),
])
def test_memory(domain: dict[str, Any], expected: int) -> None:
    assert designed(domain).memory == expected


@pytest.mark.parametrize("domain", [{"memory": None}, {"memory": {"guest": "lots"}}, {"memory": {"guest": "-1Gi"}}])
def test_no_memory_is_refused(domain: dict[str, Any]) -> None:
    with pytest.raises(design.DesignError, match=r"^spec\.domain\.memory\.guest: "):
        designed(domain)


def test_what_the_cluster_says_of_every_guest_is_in_its_domain() -> None:
    facts = HostFacts(kvm=True, smbios_version="1.2", smbios_sku="k", free_page_reporting=False)
    for told, entries, reporting in ((facts, {"version": "1.2", "sku": "k"}, False), (KVM, {}, True)):
        domain = designed({}, told)
        assert domain.sysinfo is not None
        assert domain.devices is not None
        assert domain.devices.balloon is not None
        system = {entry.name: entry.value for entry in domain.sysinfo.system}
        assert {name: value for name, value in system.items() if name in ("version", "sku")} == entries
        assert domain.devices.balloon.free_page_reporting is reporting


def ports(domain: Domain) -> int:
    return sum(each.model == "pcie-root-port" for each in (domain.devices or Devices()).controllers)


def test_small_guests_have_eight_ports_and_three_free_ones() -> None:
    assert ports(designed({})) == 8
    names = [f"d{index}" for index in range(7)]
    sources = {name: DiskSource("/d", "raw") for name in names}
    vmi = disk_vmi(*({"name": name, "disk": {"bus": "virtio"}} for name in names))
    domain = design.domain_for(vmi, EMULATED, Prepared(disks=sources))
    assert ports(domain) == 7 + len(("scsi", "virtio-serial", "balloon")) + 3


def test_large_guests_have_sixteen_ports() -> None:
    assert ports(designed({"memory": {"guest": "2Gi"}})) == 8
    assert ports(designed({"memory": {"guest": "2049Mi"}})) == 16


def test_panic_device_on_pci_takes_a_port() -> None:
    names = [f"d{index}" for index in range(5)]
    devices = {"disks": [{"name": name, "disk": {"bus": "virtio"}} for name in names],
               "panicDevices": [{"model": "pvpanic"}], **HEADLESS}
    given = vmi({"devices": devices}, volumes=[{"name": name, "emptyDisk": {"capacity": "1Gi"}} for name in names])
    prepared = Prepared(disks={name: DiskSource("/d", "raw") for name in names})
    assert ports(design.domain_for(given, EMULATED, prepared)) == 5 + len(("scsi", "serial", "balloon", "panic")) + 3


def test_machine_without_pcie_has_no_ports() -> None:
    assert ports(designed({"machine": {"type": "pc-i440fx-9.2"}})) == 0


def test_interface_that_was_not_wired_is_named() -> None:
    wired = (WiredInterface(name="other", tap="tap0", mac="02:00:00:00:00:01", mtu=1500),)
    with pytest.raises(design.DesignError, match=r"spec\.domain\.devices\.interfaces\[0\]\.name: interface 'default'"):
        design.domain_for(vmi(), EMULATED, Prepared(interfaces=wired))


@pytest.mark.parametrize(("state", "link"), [("", ""), ("up", ""), ("down", "down")])
def test_link_state_reaches_the_card(state: str, link: str) -> None:
    given = vmi({"devices": {"interfaces": [{"name": "default", "bridge": {}, "state": state}]}},
                networks=[{"name": "default", "pod": {}}])
    wired = (WiredInterface(name="default", tap="tap0", mac="02:00:00:00:00:01", mtu=1500),)
    domain = design.domain_for(given, EMULATED, Prepared(interfaces=wired))
    assert [card.link for card in (domain.devices or Devices()).interfaces] == [link]


BOOT = {"kernelBoot": {"kernelArgs": "quiet", "container": {"image": "i", "kernelPath": "/k", "initrdPath": "/r"}}}


@pytest.mark.parametrize(("firmware", "prepared", "field"), [
    (BOOT, NOTHING, "kernelBoot.container.kernelPath"),
    (BOOT, Prepared(kernel="/k"), "kernelBoot.container.initrdPath"),
    ({"kernelBoot": {"kernelArgs": "quiet"}}, NOTHING, "kernelBoot.kernelArgs"),
    ({"bootloader": {"efi": {}}}, NOTHING, "bootloader.efi.secureBoot"),
    ({"bootloader": {"efi": {"secureBoot": False}, "bios": {}}}, NOTHING, "bootloader"),
])
def test_firmware_that_cannot_be_had_is_refused(firmware: dict[str, Any], prepared: Prepared, field: str) -> None:
    with pytest.raises(design.DesignError, match=rf"^spec\.domain\.firmware\.{field}: "):
        designed({"firmware": firmware}, prepared=prepared)


def test_foreign_architecture_is_refused() -> None:
    with pytest.raises(design.DesignError, match=r"^spec\.architecture: 'arm64'"):
        design.domain_for(vmi({"devices": HEADLESS}, architecture="arm64"), EMULATED, NOTHING)


def test_vmi_without_admissions_defaults_gets_a_domain() -> None:
    bare = v1.VirtualMachineInstance(spec=v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(
        memory=v1.Memory(guest="64Mi"), devices=v1.Devices(disks=(v1.Disk(name="a"),)),
    )))
    domain = design.domain_for(bare, KVM, Prepared(disks={"a": DiskSource("/d", "raw")}))
    assert domain.devices is not None
    assert (domain.type, domain.vcpus, domain.devices.disks[0].bus) == ("kvm", 1, "sata")


def test_no_two_steps_set_one_field() -> None:
    """Each step's own domain, laid over all the others: domain_for would have raised."""
    request = design.Request(vmi({"devices": HEADLESS}), EMULATED, NOTHING)
    with pytest.raises(design.DesignConflict, match="set twice"):
        design.merged([step(request) for step in (*design.STEPS, design.STEPS[0])])
