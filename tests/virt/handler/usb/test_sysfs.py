"""USB devices read from a tree that looks like sysfs."""

from pathlib import Path

from virt.handler.usb import sysfs
from virt.handler.usb.sysfs import UsbDevice


def plug(root: Path, port: str, ids: str = "46f4:0001", *, number: int = 3, kind: str = "00") -> Path:
    """A device at ``port``, with one interface."""
    vendor, _, product = ids.partition(":")
    folder = root / "bus" / "usb" / "devices" / port
    bus = int(port.partition("-")[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("idVendor", vendor), ("idProduct", product), ("busnum", str(bus)), ("devnum", str(number)),
                       ("dev", f"189:{(bus - 1) * 128 + number - 1}"), ("bDeviceClass", kind)):
        (folder / name).write_text(f"{text}\n")
    (folder.parent / f"{port}:1.0").mkdir(exist_ok=True)
    return folder


def test_devices_are_read_in_the_order_of_their_ports(tmp_path: Path) -> None:
    for port in ("1-10", "1-2.4", "1-2", "2-1"):
        plug(tmp_path, port)
    assert [device.port for device in sysfs.devices(tmp_path)] == ["1-2", "1-2.4", "1-10", "2-1"]


def test_a_device_is_read_whole(tmp_path: Path) -> None:
    plug(tmp_path, "2-1", "46F4:0001", number=5)
    assert sysfs.devices(tmp_path) == (UsbDevice(
        port="2-1", vendor="46f4", product="0001", bus=2, number=5, major=189, minor=132),)


def test_controllers_interfaces_and_what_just_goes_are_left_out(tmp_path: Path) -> None:
    plug(tmp_path, "1-1")
    (tmp_path / "bus/usb/devices/usb1").mkdir()
    (plug(tmp_path, "1-2") / "devnum").unlink()
    assert [device.port for device in sysfs.devices(tmp_path)] == ["1-1"]


def test_hubs_are_known(tmp_path: Path) -> None:
    plug(tmp_path, "1-1", "1d6b:0104", kind="09")
    assert [device.is_hub for device in sysfs.devices(tmp_path)] == [True]


def test_a_machine_without_usb_has_no_devices(tmp_path: Path) -> None:
    assert sysfs.devices(tmp_path / "nothing") == ()
