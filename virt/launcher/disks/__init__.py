"""Files and devices behind a VMI's volumes, made ready for QEMU. Nothing here is deleted: all of it goes with the
pod, or is a claim's."""

from virt.launcher.disks.errors import DiskError
from virt.launcher.disks.prepare import Disks

__all__ = ["DiskError", "Disks"]
