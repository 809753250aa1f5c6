"""Keeps the transcript of the serial console small: a guest must not fill the node's disk by talking.

QEMU appends to the file itself. Its beginning is given back to the file system (a hole), so the file's size and the
offsets of its readers stay what they are, and nothing is ever renamed or written twice.
"""

import asyncio
import contextlib
from pathlib import Path

from virt.base import exec as process
from virt.base import log

MOST_BYTES, KEPT_BYTES = 4 << 20, 2 << 20
_EVERY_S = 2.0
_BLOCK = 4096
_logger = log.get("virt.launcher.seriallog")


async def keep_small(path: Path) -> None:
    """Look again and again, until cancelled. A log that does not exist yet is small."""
    said = ""
    while True:
        await asyncio.sleep(_EVERY_S)
        with contextlib.suppress(FileNotFoundError):
            try:
                await shorten(path)
            except process.RunError as error:
                if said != str(error):
                    said = str(error)
                    _logger.warning("serial log grows", error=said)


async def shorten(path: Path) -> None:
    """Give back all but the last bytes of a file that holds too many. Raises RunError or FileNotFoundError."""
    status = path.stat()
    if status.st_blocks * 512 <= MOST_BYTES:
        return
    end = max(0, status.st_size - KEPT_BYTES) // _BLOCK * _BLOCK
    await process.run(
        ["fallocate", "--punch-hole", "--offset", "0", "--length", str(end), str(path)], deadline_s=30
    )
