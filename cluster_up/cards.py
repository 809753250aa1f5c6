"""Network cards of this machine with virtual functions (SR-IOV), and what guests would lack to get them. Read only.

https://docs.kernel.org/PCI/pci-iov-howto.html has the files.
"""

from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys")
_BRIDGE = "0x06"               # base class of bridges: they may be in the group of what is behind them
_IFF_UP = 1


@dataclass(frozen=True)
class Card:
    """``most``: how many functions its firmware allows. ``is_apart``: it has an IOMMU group. ``sharing``: how many
    other devices, bridges left out, are in that. ``functions``: how many it has now."""

    address: str
    name: str
    most: int
    is_apart: bool
    sharing: int = 0
    functions: int = 0
    is_up: bool = False


def present(sysfs: Path = SYSFS) -> tuple[Card, ...]:
    """All such cards, sorted by PCI address. One that is in another network namespace has no name here."""
    found = []
    for file in sorted((sysfs / "bus" / "pci" / "devices").glob("*/sriov_totalvfs")):
        folder = file.parent
        if (folder / "class").read_text().startswith("0x02"):         # base class of network cards
            names = sorted(each.name for each in folder.glob("net/*"))
            name = names[0] if names else ""
            found.append(Card(
                folder.name, name, int(file.read_text()), (folder / "iommu_group").exists(), _sharing(folder),
                functions=int(_text(folder / "sriov_numvfs") or 0),
                is_up=bool(name) and bool(int(_text(folder / "net" / name / "flags") or "0", 16) & _IFF_UP)))
    return tuple(found)


def _sharing(folder: Path) -> int:
    others = [each for each in folder.glob("iommu_group/devices/*") if each.name != folder.name]
    return sum(not _text(each / "class").startswith(_BRIDGE) for each in others)


def _text(path: Path) -> str:
    """"" for a file that is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def has_vfio(sysfs: Path = SYSFS) -> bool:
    return (sysfs / "bus" / "pci" / "drivers" / "vfio-pci").exists()

