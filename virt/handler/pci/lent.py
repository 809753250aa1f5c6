"""Which virtual functions were set up for guests and not reset yet, in a file that outlives the handler; none, no file.

A pool may leave the configuration while a guest has one of its functions, and the handler may restart before the guest
ends. Then only this file says that the function is ours to reset: other agents set up functions too.
"""

from collections.abc import Collection
from pathlib import Path

import msgspec

from virt.base import log

FILE = "functions-lent"
_logger = log.get("virt.handler.pci")


class Lent:
    """``folder`` is the handler's on the node. A rebooted node has lost it, like the settings of its cards."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.addresses = self._read()

    def add(self, address: str) -> None:
        self._become(self.addresses | {address})

    def discard(self, address: str) -> None:
        self._become(self.addresses - {address})

    def keep(self, addresses: Collection[str]) -> None:
        """Forget all but these."""
        self._become(self.addresses & frozenset(addresses))

    def _become(self, addresses: frozenset[str]) -> None:
        if addresses == self.addresses:
            return
        self.addresses = addresses
        part = self._file.with_name(f".{FILE}.new")
        try:
            if not addresses:
                self._file.unlink(missing_ok=True)
                return
            part.write_bytes(msgspec.json.encode(sorted(addresses)))
            part.replace(self._file)
        except OSError as error:
            # No guest waits for this: it is known here as long as this handler lives.
            _logger.warning("functions that guests have are not written down", error=str(error))

    def _read(self) -> frozenset[str]:
        try:
            return frozenset(msgspec.json.decode(self._file.read_bytes(), type=list[str]))
        except FileNotFoundError:
            return frozenset()
        except (OSError, msgspec.MsgspecError) as error:
            _logger.warning("what guests had of functions is not known", error=str(error))
            return frozenset()
