"""Volumes that carry files, as the kubelet mounts them."""

import io
from pathlib import Path

from pycdlib import PyCdlib

from virt.api import v1
from virt.launcher.disks import configuration


def _mounted(folder: Path, contents: dict[str, bytes]) -> Path:
    """As the kubelet's atomic writer leaves it: links to ..data, which links to a folder with a time in its name."""
    real = folder / "..2026_01_01"
    for name, content in contents.items():
        (real / name).parent.mkdir(parents=True, exist_ok=True)
        (real / name).write_bytes(content)
    (folder / "..data").symlink_to("..2026_01_01")
    for first in {name.partition("/")[0] for name in contents}:
        (folder / first).symlink_to(f"..data/{first}")
    return folder


def _read(path: Path, name: str) -> bytes:
    image, content = PyCdlib(), io.BytesIO()
    image.open(str(path))
    image.get_file_from_iso_fp(content, rr_path=f"/{name}")
    image.close()
    return content.getvalue()


def test_every_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    contents = {"plain": b"x", "binary": bytes(range(256)), "a/deep/one": b"1", "n" * 200: b"long", "empty": b""}
    folder = _mounted(tmp_path / "mounted", contents)
    assert configuration.files(folder) == contents
    volume = v1.Volume(name="config", config_map=v1.ConfigMapVolumeSource(name="c", volume_label="OEMDRV"))
    path = tmp_path / "made" / "config.iso"
    configuration.prepare(volume, folder, path)
    assert {name: _read(path, name) for name in contents} == contents
    image = PyCdlib()
    image.open(str(path))
    assert image.pvd.volume_identifier.decode().strip() == "OEMDRV"
    image.close()


def test_no_files_make_an_empty_image(tmp_path: Path) -> None:
    volume = v1.Volume(name="config", secret=v1.SecretVolumeSource(secret_name="s", optional=True))
    (tmp_path / "mounted").mkdir()
    configuration.prepare(volume, tmp_path / "mounted", tmp_path / "config.iso")
    assert (tmp_path / "config.iso").stat().st_size > 0
    assert configuration.label(volume) == "cfgdata"


def test_an_image_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.iso").write_bytes(b"of before")
    configuration.prepare(v1.Volume(name="config"), tmp_path / "missing", tmp_path / "config.iso")
    assert (tmp_path / "config.iso").read_bytes() == b"of before"
