"""The VMI that a VM starts."""

import pytest

from virt.api import core, v1
from virt.controller.vm.instance import made_from


def vm(name: str, uuid: str = "") -> v1.VirtualMachine:
    domain = v1.DomainSpec(firmware=v1.Firmware(uuid=uuid)) if uuid else v1.DomainSpec()
    template = v1.VirtualMachineInstanceTemplateSpec(spec=v1.VirtualMachineInstanceSpec(domain=domain))
    return v1.VirtualMachine(
        metadata=core.ObjectMeta(name=name, namespace="ns", uid="u1"), spec=v1.VirtualMachineSpec(template=template))


def uuid_of(machine: v1.VirtualMachine) -> str:
    firmware = made_from(machine, paused=False).spec.domain.firmware
    assert firmware is not None
    return firmware.uuid


@pytest.mark.parametrize("given", ["5d307ca9-b3ef-428c-8861-06e72d69f223", ""])
def test_every_start_is_of_the_same_machine(given: str) -> None:
    assert uuid_of(vm("vm", given)) == uuid_of(vm("vm", given)) != ""
    assert uuid_of(vm("vm", given)) == (given or uuid_of(vm("vm")))


def test_machines_of_old_have_the_identity_of_their_name() -> None:
    assert uuid_of(vm("vm")) != uuid_of(vm("other"))
