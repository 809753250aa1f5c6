"""A PCI function as the kernel shows it. Frozen values, no behaviour beyond what follows from them."""

from dataclasses import dataclass

VFIO_DRIVER = "vfio-pci"
_BRIDGE = "06"                # base class of bridges: they may be in the IOMMU group of what is behind them


@dataclass(frozen=True, kw_only=True)
class PciDevice:
    """``address``: "0000:01:10.0". ``vendor``, ``device``: four hexadecimal digits. ``group``: number of its IOMMU
    group, "" without one.

    ``physical``: address of the physical function that a virtual one belongs to. ``virtual``: addresses of a physical
    function's virtual ones, by their number; ``most_virtual``: how many it can have. ``cards``: its network cards, by
    name, with their state (operstate: up, down, unknown ...).
    """

    address: str
    vendor: str
    device: str
    class_code: str = ""
    driver: str = ""
    group: str = ""
    numa_node: int | None = None
    physical: str = ""
    virtual: tuple[str, ...] = ()
    most_virtual: int = 0
    cards: tuple[tuple[str, str], ...] = ()

    @property
    def ids(self) -> str:
        return f"{self.vendor}:{self.device}"

    @property
    def is_bridge(self) -> bool:
        return self.class_code.startswith(_BRIDGE)

    @property
    def is_for_guests(self) -> bool:
        return self.driver == VFIO_DRIVER

    @property
    def card(self) -> str:
        """The name of its (first) network card; "" where it has none, or another network namespace has it."""
        return self.cards[0][0] if self.cards else ""
