"""The two parts of the guest's network that the launcher cannot make itself: the tap and the DHCP socket.

Kernel interface: Documentation/networking/tuntap.rst, socket(7), if_tun.h.
"""

import fcntl
import os
import socket
import struct
from pathlib import Path

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_TUNSETGROUP = 0x400454CE
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_MULTI_QUEUE = 0x0100
_SO_NO_CHECK = 11
DHCP_SERVER_PORT = 67


def make_tap(name: str, *, owner: int, queues: int, device: Path = Path("/dev/net/tun")) -> None:
    """Make a lasting tap that ``owner`` (uid and gid) may open, in the namespace of the calling thread.

    The flags have to be those that libvirt and QEMU ask for when they open it. Raises OSError, EBUSY where a tap of
    that name is in use.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if queues > 1 else 0)
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(fd, _TUNSETOWNER, owner)
        fcntl.ioctl(fd, _TUNSETGROUP, owner)
        fcntl.ioctl(fd, _TUNSETPERSIST, 1)      # last: a tap without an owner goes away with this descriptor
    finally:
        os.close(fd)


def dhcp_socket(bridge: str) -> socket.socket:
    """A UDP socket on port 67 that hears only ``bridge``, in the namespace of the calling thread.

    A second one may be bound while the first lives: after a restart the handler cannot know whether the launcher got
    it. Answers carry no checksum: a partial one would reach the guest as it is, and DHCP clients that read raw packets
    drop it.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
        sock.bind(("0.0.0.0", DHCP_SERVER_PORT))
    except OSError:
        sock.close()
        raise
    return sock
