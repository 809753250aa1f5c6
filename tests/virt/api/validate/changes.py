"""Changes to the valid VMI, as merge patches of its spec."""

from typing import Any


def domain(**change: Any) -> dict[str, Any]:
    return {"domain": change}


def disk(**change: Any) -> dict[str, Any]:
    """The first disk with ``change``; the others get theirs by default."""
    return domain(devices={"disks": [{"name": "root", **change}]})


def interface(**change: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": "default", "masquerade": {}, **change}
    return domain(devices={"interfaces": [{key: value for key, value in entry.items() if value is not None}]})


def volume(name: str = "root", **source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": name, **source}], **domain(devices={"disks": []})}


def kernel(**boot: Any) -> dict[str, Any]:
    return domain(firmware={"kernelBoot": boot})


def probe(**change: Any) -> dict[str, Any]:
    return {"readinessProbe": change}


TCP = {"tcpSocket": {"port": 22}}
IMAGE = {"image": "kernel:1", "kernelPath": "/boot/vmlinuz"}
NO_NETWORK = {"networks": None, **domain(devices={"interfaces": None, "autoattachPodInterface": False})}
