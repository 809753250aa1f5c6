"""The NoCloud seed."""

import io
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from pycdlib import PyCdlib

from virt.api import core, v1
from virt.launcher.disks import cloudinit
from virt.launcher.disks.errors import DiskError

REFERENCE = core.LocalObjectReference(name="seed")
VMI = v1.VirtualMachineInstance(
    metadata=core.ObjectMeta(name='we"b\n', namespace="default"),
    spec=v1.VirtualMachineInstanceSpec(
        domain=v1.DomainSpec(firmware=v1.Firmware(uuid="5d307ca9-b3ef-428c-8861-06e72d69f223"))
    ),
)


def test_inline_data_and_meta_data(tmp_path: Path) -> None:
    source = v1.CloudInitNoCloudSource(user_data="#cloud-config\n", network_data_base64="dmVyc2lvbjogMgo=")
    files = cloudinit.files(VMI, source, tmp_path)
    assert files["user-data"] == b"#cloud-config\n"
    assert files["network-config"] == b"version: 2\n"
    assert json.loads(files["meta-data"]) == {
        "instance-id": "5d307ca9-b3ef-428c-8861-06e72d69f223", "local-hostname": 'we"b\n',
    }  # fmt: skip


def test_the_guests_name_is_its_pods() -> None:
    dotted = replace(VMI, metadata=core.ObjectMeta(name=f"{'w' * 70}.shop", namespace="default"))
    files = cloudinit.files(dotted, v1.CloudInitNoCloudSource(user_data="x"), Path())
    assert json.loads(files["meta-data"])["local-hostname"] == "w" * 63


@pytest.mark.parametrize("key", ["userdata", "userData"])
def test_secrets_are_read_by_either_key(key: str, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / key).write_bytes(b"secret")
    files = cloudinit.files(VMI, v1.CloudInitNoCloudSource(secret_ref=REFERENCE), tmp_path)
    assert files["user-data"] == b"secret"
    assert "network-config" not in files


def test_two_secrets_with_one_key_do_not_mix(tmp_path: Path) -> None:
    for role in ("user", "network"):
        (tmp_path / role).mkdir()
        for key in ("userdata", "networkdata"):
            (tmp_path / role / key).write_text(f"{key} of {role}")
    source = v1.CloudInitNoCloudSource(secret_ref=REFERENCE, network_data_secret_ref=REFERENCE)
    files = cloudinit.files(VMI, source, tmp_path)
    assert (files["user-data"], files["network-config"]) == (b"userdata of user", b"networkdata of network")


def test_a_secret_without_the_key_is_an_error_that_names_the_volume(tmp_path: Path) -> None:
    source = v1.CloudInitNoCloudSource(secret_ref=REFERENCE)
    with pytest.raises(DiskError, match="volume seed: the secret has no key userdata"):
        cloudinit.prepare(VMI, "seed", source, tmp_path / "missing", tmp_path / "noCloud.iso")
    assert not (tmp_path / "noCloud.iso").exists()


def test_the_iso_has_label_and_files(tmp_path: Path) -> None:
    path = tmp_path / "seed" / "noCloud.iso"
    size = cloudinit.prepare(VMI, "seed", v1.CloudInitNoCloudSource(user_data="hello"), tmp_path / "no", path)
    assert size == path.stat().st_size
    image = PyCdlib()
    image.open(str(path))
    content = io.BytesIO()
    image.get_file_from_iso_fp(content, joliet_path="/user-data")
    assert content.getvalue() == b"hello"
    assert image.pvd.volume_identifier.decode().strip() == cloudinit.LABEL
    image.close()
