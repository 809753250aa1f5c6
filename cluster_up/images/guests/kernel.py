"""A Debian kernel as tiny boots it: uncompressed, with the modules that guests meet.

Under emulation, unpacking the kernel is a quarter of the boot; QEMU starts an ELF kernel with a PVH note directly.
"""

import lzma
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster_up import exec as host
from cluster_up.images.guests import elf

_ZSTD = b"\x28\xb5\x2f\xfd"
_SETUP_SECTORS, _PAYLOAD = 0x1F1, 0x248       # offsets in the boot protocol's header
_SIGNATURE = b"~Module signature appended~\n"

# Devices of virtio, of Red Hat, of Intel, and those that are known by their class; the table is read by each boot.
_DEVICES = ("virtio:", "scsi:", "pci:v00001AF4", "pci:v00001B36", "pci:v00008086", "pci:v*")

# What a guest may meet on its buses, then file systems, then links that tests make.
MODULES = (
    "virtio_blk", "virtio_net", "virtio_scsi", "virtio_balloon", "virtio_rng", "virtio_input", "virtio_mem",
    "ahci", "ata_piix", "sd_mod", "sr_mod", "button", "evdev", "i6300esb", "pvpanic-pci", "vmw_vsock_virtio_transport",
    "isofs", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859_1", "nls_utf8", "efivarfs",
    "dummy", "veth", "bridge", "8021q",
)  # fmt: skip


def payload(image: bytes) -> bytes:
    """The compressed kernel inside a bzImage (Documentation/arch/x86/boot.rst)."""
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = ((image[_SETUP_SECTORS] or 4) + 1) * 512 + offset
    return image[start : start + length]


def unpacked(image: Path, scratch: Path) -> bytes:
    """The kernel as a small ELF file. ``scratch`` is a folder for what lies between."""
    data = payload(image.read_bytes())
    if not data.startswith(_ZSTD):
        raise ValueError(f"{image} is not packed with zstd but with {data[:4].hex()}")
    packed, whole = scratch / "kernel.zst", scratch / "kernel"
    packed.write_bytes(data[:-4])               # the last four bytes are its length, for the boot code
    host.run(["zstd", "--quiet", "--decompress", "--force", packed, "-o", whole], deadline_s=60)
    return elf.loadable(whole.read_bytes())


def module(packed: bytes) -> bytes:
    """A module as the kernel loads it fastest: unpacked and without its signature, whose check costs 5 ms emulated."""
    data = lzma.decompress(packed)
    if not data.endswith(_SIGNATURE):
        return data
    size = struct.unpack(">I", data[-len(_SIGNATURE) - 4 : -len(_SIGNATURE)])[0]
    return data[: -len(_SIGNATURE) - 12 - size]


def depends(module: bytes) -> list[str]:
    """Names of the modules that must be loaded before it.

    >>> depends(b"\\0license=GPL\\0depends=virtio,virtio_ring\\0")
    ['virtio', 'virtio_ring']
    """
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in found.group(1).decode().split(",") if name] if found else []


def aliases(module: bytes) -> list[str]:
    """Patterns of the devices that it drives.

    >>> aliases(b"\\0alias=virtio:d00000002v*\\0alias=fs-vfat\\0")
    ['virtio:d00000002v*', 'fs-vfat']
    """
    return [found.decode() for found in re.findall(rb"(?<=\0)alias=([^\0]*)(?=\0)", module)]


def order(name: str, needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The module and all it needs, each after what itself needs.

    >>> order("a", {"a": ["b", "c"], "b": ["c"], "c": []})
    ['c', 'b', 'a']
    """
    found: list[str] = []
    for other in needs[name]:
        found += [one for one in order(other, needs) if one not in found]
    return [*found, name]


def coldplug(known: Mapping[str, Sequence[str]], needs: Mapping[str, Sequence[str]]) -> str:
    """The table of recipes/guests/tiny/start.c: a line per device that QEMU has, with what to load in order."""
    lines = [
        " ".join([pattern, *order(name, needs)])
        for name, patterns in sorted(known.items())
        for pattern in patterns
        if pattern.startswith(_DEVICES)
    ]
    return "".join(f"{line}\n" for line in lines)


def closure(wanted: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """``wanted`` and all they need, sorted. Raises KeyError for a module that there is not.

    >>> closure(["a"], {"a": ["b"], "b": [], "c": []})
    ['a', 'b']
    """
    found: set[str] = set()
    rest = list(wanted)
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest += needs[name]
    return sorted(found)
