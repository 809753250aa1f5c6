"""Addresses as people write them. Standard library only."""

import ipaddress
import re


def plain(address: str) -> str:
    """IPv4 text with each number in plain decimal, as Kubernetes and KubeVirt read it; anything else as it is.

    >>> plain("0127.0.0.3"), plain("10.10.010.0/24"), plain("fd00::0010")
    ('127.0.0.3', '10.10.10.0/24', 'fd00::0010')
    """
    if ":" in address:
        return address
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", address)


def is_address(text: str, *, version: int | None = None) -> bool:
    """Whether it is an IP address, of that version when one is given."""
    try:
        found = ipaddress.ip_address(plain(text))
    except ValueError:
        return False
    return version in (None, found.version)
