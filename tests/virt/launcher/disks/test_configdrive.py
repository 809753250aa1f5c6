"""The ConfigDrive seed."""

import io
import json
from pathlib import Path

import pytest
from pycdlib import PyCdlib

from virt.api import core, v1
from virt.launcher.design import TaggedDevice
from virt.launcher.disks import configdrive
from virt.launcher.disks.errors import DiskError

VMI = v1.VirtualMachineInstance(
    metadata=core.ObjectMeta(name="web", namespace="team"),
    spec=v1.VirtualMachineInstanceSpec(
        domain=v1.DomainSpec(firmware=v1.Firmware(uuid="5d307ca9-b3ef-428c-8861-06e72d69f223"))
    ),
)


def test_the_files_stand_where_openstack_has_them(tmp_path: Path) -> None:
    source = v1.CloudInitConfigDriveSource(user_data="#cloud-config\n", network_data_base64="e30=")
    files = configdrive.files(VMI, source, tmp_path)
    assert sorted(files) == [
        "openstack/latest/meta_data.json", "openstack/latest/network_data.json", "openstack/latest/user_data",
    ]  # fmt: skip
    assert (files["openstack/latest/user_data"], files["openstack/latest/network_data.json"]) == (
        b"#cloud-config\n", b"{}",
    )  # fmt: skip
    assert json.loads(files["openstack/latest/meta_data.json"]) == {
        "instance_id": "web.team", "hostname": "web", "uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223",
    }  # fmt: skip


def test_the_guests_name_is_its_pods() -> None:
    dotted = v1.VirtualMachineInstance(metadata=core.ObjectMeta(name="web.shop", namespace="team"))
    files = configdrive.files(dotted, v1.CloudInitConfigDriveSource(user_data="x"), Path())
    found = json.loads(files["openstack/latest/meta_data.json"])
    assert (found["hostname"], found["instance_id"]) == ("web", "web.shop.team")


def test_what_is_not_given_is_left_out(tmp_path: Path) -> None:
    files = configdrive.files(v1.VirtualMachineInstance(), v1.CloudInitConfigDriveSource(network_data="{}"), tmp_path)
    assert "openstack/latest/user_data" not in files
    assert "uuid" not in json.loads(files["openstack/latest/meta_data.json"])


def read(path: Path, file: str) -> bytes:
    image = PyCdlib()
    image.open(str(path))
    content = io.BytesIO()
    image.get_file_from_iso_fp(content, rr_path=file)
    image.close()
    return content.getvalue()


def test_tagged_devices_come_into_the_drive_once_they_have_addresses(tmp_path: Path) -> None:
    path = tmp_path / "configdrive.iso"
    source = v1.CloudInitConfigDriveSource(user_data="x")
    configdrive.prepare(VMI, "seed", source, tmp_path, path)
    assert "devices" not in json.loads(read(path, "/openstack/latest/meta_data.json"))
    card = TaggedDevice(type="nic", bus="pci", address="0000:01:00.0", mac="02:00:00:00:00:01", tags=("front",))
    configdrive.prepare(VMI, "seed", source, tmp_path, path, tagged=(card,))
    assert json.loads(read(path, "/openstack/latest/meta_data.json"))["devices"] == [
        {"type": "nic", "bus": "pci", "address": "0000:01:00.0", "mac": "02:00:00:00:00:01", "tags": ["front"]}]


def test_the_iso_has_label_and_files(tmp_path: Path) -> None:
    path = tmp_path / "seed" / "configdrive.iso"
    source = v1.CloudInitConfigDriveSource(user_data="hello")
    assert configdrive.prepare(VMI, "seed", source, tmp_path / "no", path) == path.stat().st_size
    image = PyCdlib()
    image.open(str(path))
    content = io.BytesIO()
    image.get_file_from_iso_fp(content, rr_path="/openstack/latest/user_data")
    assert content.getvalue() == b"hello"
    assert image.pvd.volume_identifier.decode().strip() == configdrive.LABEL
    image.close()


def test_a_secret_without_the_key_is_an_error_that_names_the_volume(tmp_path: Path) -> None:
    source = v1.CloudInitConfigDriveSource(secret_ref=core.LocalObjectReference(name="seed"))
    with pytest.raises(DiskError, match="volume seed: the secret has no key userdata"):
        configdrive.prepare(VMI, "seed", source, tmp_path / "missing", tmp_path / "configdrive.iso")
    assert not (tmp_path / "configdrive.iso").exists()
