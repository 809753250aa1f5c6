"""ISO 9660 images with Rock Ridge and Joliet names, made in memory: cloud-init seeds and configuration volumes."""

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

JOLIET_MAX = 64             # characters of a name; a longer one is there under its Rock Ridge name only


def image(contents: Mapping[str, bytes], label: str) -> bytes:
    """``contents``: files by their path ("meta-data", "openstack/latest/user_data"); none gives an empty image."""
    from pycdlib import PyCdlib

    made = PyCdlib()
    made.new(vol_ident=label, joliet=3, rock_ridge="1.09")
    folders: dict[PurePosixPath, str] = {PurePosixPath("."): ""}
    for number, (name, content) in enumerate(sorted(contents.items())):
        path = PurePosixPath(name)
        for folder in reversed(path.parents):
            _add_folder(made, folder, folders)
        plain = f"{folders[path.parent]}/FILE{number}.;1"
        made.add_fp(io.BytesIO(content), len(content), plain, rr_name=path.name, joliet_path=_joliet(path))
    written = io.BytesIO()
    made.write_fp(written)
    made.close()
    return written.getvalue()


def write(contents: Mapping[str, bytes], label: str, path: Path) -> None:
    """The image at ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_bytes(image(contents, label))
    unfinished.replace(path)


def _add_folder(made: Any, folder: PurePosixPath, known: dict[PurePosixPath, str]) -> None:
    if folder in known:
        return
    known[folder] = f"{known[folder.parent]}/DIR{len(known)}"
    made.add_directory(known[folder], rr_name=folder.name, joliet_path=_joliet(folder))


def _joliet(path: PurePosixPath) -> str | None:
    return f"/{path}" if all(len(part) <= JOLIET_MAX for part in path.parts) else None
