"""What libvirt knows of this image's QEMU, asked once per node instead of once per guest.

``python3 -m virt.launcher.capabilities FOLDER`` runs as init container of virt-handler: libvirt asks QEMU, and its
cache is copied to FOLDER. The handler puts it where launchers see it, and each gives it to its own libvirt. Nobody has
to say which QEMU it is about: libvirt compares modification times of its programs, version and host, and asks again
when one differs.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from virt.base import log
from virt.base.errors import VirtError
from virt.launcher.daemon import Daemon, Paths

_CACHE = "libvirt/qemu/cache/capabilities"          # below XDG_CACHE_HOME
_LARGEST = 1 << 20
_logger = log.get("virt.launcher.capabilities")


def adopt(known: Path, cache: Path) -> None:
    """Give libvirt, whose XDG_CACHE_HOME is ``cache``, what is known; nothing where nothing is."""
    with contextlib.suppress(OSError):              # it is only a cache
        for path in known.glob("*.xml"):
            if path.stat().st_size <= _LARGEST:
                (cache / _CACHE).mkdir(parents=True, exist_ok=True)
                (cache / _CACHE / path.name).write_bytes(path.read_bytes())


async def ask(target: Path) -> None:
    """Have libvirt ask QEMU and copy what it noted. Raises VirtError or OSError."""
    import tempfile  # not for launchers, where it would stay in memory

    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        daemon = Daemon(Paths(run=home / "libvirt", config=home, cache=home, claims=home / "claims"))
        try:
            libvirt = await daemon.start("")
            await libvirt.warm_up()
            for path in (home / _CACHE).glob("*.xml"):
                (target / path.name).write_bytes(path.read_bytes())
                _logger.info("QEMU was asked", name=path.name)
        finally:
            await daemon.stop()


def main(target: str) -> int:
    """Always 0: launchers do without, only later."""
    log.setup("virt-launcher")
    try:
        asyncio.run(ask(Path(target)))
    except (VirtError, OSError) as error:
        _logger.warning("QEMU could not be asked", error=str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
