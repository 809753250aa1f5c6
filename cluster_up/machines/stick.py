"""What is on the USB stick of a machine. Pure.

Its serial is the beginning of the SHA-256 of its content: who reads all of the stick knows whether it is that one.
"""

import hashlib

_SIZE = 1 << 20
_SERIAL = 20                    # hexadecimal digits


def content(machine: str) -> bytes:
    """Another one for each machine, and the same each time."""
    return hashlib.shake_256(machine.encode()).digest(_SIZE)


def serial(machine: str) -> str:
    return hashlib.sha256(content(machine)).hexdigest()[:_SERIAL]
