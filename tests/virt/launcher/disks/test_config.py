"""Configuration volumes: which files go to the guest, under which label, and who may read the image."""

import io
import os
import stat
from pathlib import Path

import pytest
from pycdlib import PyCdlib

from virt.api import v1
from virt.launcher.disks import config, iso
from virt.launcher.disks.errors import DiskError


def mounted(folder: Path, **files: bytes) -> Path:
    """As the kubelet does it: the real files in a folder of their own, links by their names."""
    real = folder / "..2026"
    real.mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    for name, content in files.items():
        (real / name).write_bytes(content)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def content_of(image: PyCdlib, name: str) -> bytes:
    written = io.BytesIO()
    image.get_file_from_iso_fp(written, rr_path=name)
    return written.getvalue()


def opened(path: Path) -> PyCdlib:
    image = PyCdlib()
    image.open(str(path))
    return image


def test_the_guest_gets_the_files_and_nothing_of_the_kubelets(tmp_path: Path) -> None:
    data = bytes(range(256))
    folder = mounted(tmp_path / "in", token=data, other=b"x")
    (folder / "labels").mkdir()
    (folder / "labels" / "all").write_bytes(b"a=b")
    assert config.files(folder) == {"labels/all": b"a=b", "other": b"x", "token": data}
    path = tmp_path / "out" / "a.iso"
    size = config.prepare(v1.Volume(name="a", secret=v1.SecretVolumeSource(secret_name="s")), folder, path)
    image = opened(path)
    assert size == path.stat().st_size
    assert image.pvd.volume_identifier.decode().strip() == "cfgdata"
    assert (content_of(image, "/token"), content_of(image, "/labels/all")) == (data, b"a=b")
    image.close()


def test_the_image_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        iso.write(tmp_path / "a.iso", {"a": b"secret"}, "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.iso").stat().st_mode) == 0o640


def test_an_image_that_is_there_stays(tmp_path: Path) -> None:
    volume = v1.Volume(name="a", config_map=v1.ConfigMapVolumeSource(name="c", volume_label="OEMDRV"))
    path = tmp_path / "a.iso"
    folder = mounted(tmp_path / "in", key=b"old")
    config.prepare(volume, folder, path)
    (folder / "..2026" / "key").write_bytes(b"new")
    config.prepare(volume, folder, path)
    image = opened(path)
    assert content_of(image, "/key") == b"old"
    assert image.pvd.volume_identifier.decode().strip() == "OEMDRV"
    image.close()


def test_long_names_and_no_files_at_all_fit(tmp_path: Path) -> None:
    name = "k" * 200
    iso.write(tmp_path / "a.iso", {name: b"x"}, "x")
    image = opened(tmp_path / "a.iso")
    assert content_of(image, f"/{name}") == b"x"
    image.close()
    iso.write(tmp_path / "b.iso", {}, "x")


def test_what_is_not_mounted_is_an_error_that_names_the_volume(tmp_path: Path) -> None:
    volume = v1.Volume(name="a", downward_api=v1.DownwardAPIVolumeSource())
    with pytest.raises(DiskError, match=r"volume a: .*missing"):
        config.prepare(volume, tmp_path / "missing", tmp_path / "a.iso")
