import pytest

from virt.launcher.design.errors import DesignConflict
from virt.launcher.design.merging import merged
from virt.launcher.domain import Controller, Devices, Domain, Features, Os

SCSI, USB = Controller(type="scsi"), Controller(type="usb")


def test_parts_make_a_whole() -> None:
    parts = [
        Domain(name="a", os=Os(machine="q35")),
        Domain(memory=0, os=Os(kernel="/k"), devices=Devices(controllers=(SCSI,))),
        Domain(devices=Devices(controllers=(USB,))),
    ]
    assert merged(parts) == Domain(
        name="a", memory=0, os=Os(machine="q35", kernel="/k"), devices=Devices(controllers=(SCSI, USB)),
    )


def test_field_set_twice_is_a_conflict() -> None:
    with pytest.raises(DesignConflict, match=r"domain\.os\.machine .*'q35'.*'pc'"):
        merged([Domain(os=Os(machine="q35")), Domain(os=Os(machine="pc"))])


def test_equal_values_from_two_steps_are_a_conflict_too() -> None:
    with pytest.raises(DesignConflict, match=r"domain\.name"):
        merged([Domain(name="a"), Domain(name="a")])


def test_switching_off_counts_as_setting() -> None:
    with pytest.raises(DesignConflict, match=r"domain\.features\.smm"):
        merged([Domain(features=Features(smm=False)), Domain(features=Features(smm=True))])
