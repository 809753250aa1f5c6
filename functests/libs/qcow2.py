"""qcow2 files for tests: real ones by qemu-img, and heads that name files which they should not get.

The format: https://www.qemu.org/docs/master/interop/qcow2.html
"""

import struct
import tempfile
from pathlib import Path

from cluster_up import exec as host

_HEAD, _CLUSTER_BITS = 104, 16
_DATA_FILE = 1 << 2


def compressed(raw: bytes) -> bytes:
    """A qcow2 file with the content ``raw``, its clusters compressed."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "raw"), Path(folder, "qcow2")
        source.write_bytes(raw)
        host.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", source, target], deadline_s=60)
        return target.read_bytes()


def head(*, backing: str = "", data_file: bool = False, size: int = 1 << 20) -> bytes:
    """The first 64 KiB of a version 3 file of ``size``, which names a ``backing`` file or says that its data is
    elsewhere."""
    name = backing.encode()
    fields = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, _HEAD if name else 0, len(name), _CLUSTER_BITS, size)
    features = struct.pack(">Q", _DATA_FILE if data_file else 0)
    whole = (fields.ljust(72, b"\0") + features).ljust(_HEAD, b"\0") + name
    return whole.ljust(1 << _CLUSTER_BITS, b"\0")
