"""The command of a machine: what has to be in it, with and without KVM."""

import hashlib
from pathlib import Path

import pytest

from cluster_up.machines import stick
from cluster_up.machines.command import Files, argv
from cluster_up.machines.model import MOST_MACHINES, Machine

FILES = Files(Path("/machine"), Path("/wire"))


def command(machine: Machine, *, kvm: bool = False) -> list[str]:
    return argv(machine, FILES, kvm=kvm)


def values(words: list[str], option: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def test_machines_of_a_cluster_differ_in_names_and_addresses() -> None:
    first, second = Machine("dev", 1), Machine("dev", 2)
    assert (first.name, second.name) == ("dev-machine", "dev-machine2")
    macs = [machine.mac for machine in (first, second)]
    macs += [machine.control_mac for machine in (first, second)]
    macs += [machine.card_mac(card) for machine in (first, second) for card in (1, 2)]
    assert len(set(macs)) == 8


def test_devices_can_be_passed_on() -> None:
    words = command(Machine("dev", 1))
    assert values(words, "-machine") == ["q35,kernel-irqchip=split"]
    assert "intel-iommu,intremap=on,caching-mode=on" in values(words, "-device")
    (arguments,) = values(words, "-append")
    assert {"intel_iommu=on", "iommu=pt"} <= set(arguments.split())
    root = next(word for word in values(words, "-device") if word.startswith("virtio-blk"))
    assert "iommu_platform" not in root


@pytest.mark.parametrize("cards", [0, 1, 2])
def test_each_card_has_a_port_of_its_own_on_one_network(cards: int) -> None:
    words = command(Machine("dev", 1, cards=cards))
    devices = values(words, "-device")
    assert [word.split(",")[1] for word in devices if word.startswith("igb")] == [
        f"bus=port{card}" for card in range(1, cards + 1)]
    spare = [word for word in devices if word.startswith(("pci-testdev", "edu"))]
    assert len(spare) == 2
    ports = [word.split(",")[1].removeprefix("id=") for word in devices if word.startswith("pcie-root-port")]
    assert len(set(ports)) == len(ports) == cards + len(spare) + 1
    taken = [word.split("bus=")[1].split(",")[0] for word in devices if "bus=port" in word]
    assert sorted(taken) == sorted(ports)
    hubs = [word for word in values(words, "-netdev") if word.startswith("hubport,id=card")]
    assert len(hubs) == cards
    assert all("hubid=1" in word for word in hubs)


def test_the_cards_of_all_machines_are_on_one_wire() -> None:
    """A star around the first machine: one way between any two, so nothing goes in circles."""
    wires: dict[str, list[str]] = {}
    for machine in (Machine("dev", number) for number in range(1, MOST_MACHINES + 1)):
        for word in values(command(machine), "-netdev"):
            if word.startswith("stream,"):
                options = dict(each.split("=", 1) for each in word.split(",")[1:])
                wires.setdefault(options["addr.path"], []).append(options["server"])
                plug = f"hubport,id=plug{options['id'].removeprefix('wire')},hubid=1,netdev={options['id']}"
                assert plug in values(command(machine), "-netdev")
                assert (options["server"] == "on") == ("reconnect-ms" not in options)
    assert len(wires) == MOST_MACHINES - 1
    assert all(sorted(ends) == ["off", "on"] for ends in wires.values())


def test_a_stick_is_known_by_its_content() -> None:
    words = command(Machine("dev", 1))
    (device,) = [word for word in values(words, "-device") if word.startswith("usb-storage")]
    assert f"serial={hashlib.sha256(stick.content('dev-machine')).hexdigest()[:20]}" in device
    assert "file=/machine/stick.img,format=raw,if=none,id=stick,readonly=on" in values(words, "-drive")
    assert stick.content("dev-machine") != stick.content("dev-machine2")
    assert len(stick.content("dev-machine")) == 1 << 20


def test_kvm_is_used_where_it_runs_guests() -> None:
    emulated, real = command(Machine("dev", 1)), command(Machine("dev", 1), kvm=True)
    assert (values(emulated, "-accel"), values(real, "-accel")) == (["tcg,thread=multi"], ["kvm"])
    assert "tsc=reliable" in values(emulated, "-append")[0]
    assert "tsc=reliable" not in values(real, "-append")[0]


def test_the_machine_is_told_its_address_and_its_card() -> None:
    machine = Machine("dev", 1)
    words = command(machine)
    (arguments,) = values(words, "-append")
    assert "machine.address=@ADDRESS@ machine.gateway=@GATEWAY@" in arguments
    assert f"machine.mac={machine.mac}" in arguments
    assert f"machine.control={machine.control_mac}" in arguments
    (prefix,) = [word.partition("=")[2] for word in arguments.split() if word.startswith("machine.cards=")]
    assert machine.card_mac(1) == f"{prefix}01"
    assert f"virtio-net-pci,netdev=cluster,mac={machine.mac}" in values(words, "-device")


def test_shells_are_reached_from_the_container_only() -> None:
    (control,) = [word for word in values(command(Machine("dev", 1)), "-netdev") if word.startswith("user,")]
    assert "restrict=on" in control
    assert "machine.shell=169.254.2.15/24" in values(command(Machine("dev", 1)), "-append")[0]
    assert [word.split("=")[1] for word in control.split(",") if word.startswith("hostfwd")] == [
        "tcp:127.0.0.1:1022-169.254.2.15:1022", "tcp:127.0.0.1:1023-169.254.2.15:1023"]
