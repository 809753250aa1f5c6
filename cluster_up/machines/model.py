"""A machine: its name, its size, its cards. Pure."""

from dataclasses import dataclass

MOST_MACHINES = 2
MOST_CARDS = 4
ROLE = "machine"               # of its node; "worker" is what tests may use as they like
CARD_FUNCTIONS = 7            # of QEMU's igb
LEAST_MEMORY_MIB = 2048       # the node's own daemons, and room for one small guest


@dataclass(frozen=True)
class Machine:
    """``number`` counts from 1 within the cluster; ``cards``: physical functions, all on one network of their own."""

    cluster: str
    number: int
    memory_mib: int = 4096
    cpus: int = 2
    cards: int = 2

    @property
    def name(self) -> str:
        """Name of the node and of its container."""
        return f"{self.cluster}-machine{self.number if self.number > 1 else ''}"

    @property
    def mac(self) -> str:
        """MAC of the card on the cluster's network."""
        return _mac(self.number, 0)

    @property
    def control_mac(self) -> str:
        """MAC of the link to its container."""
        return _mac(self.number, 0xFF)

    @property
    def cards_prefix(self) -> str:
        """What the addresses of its physical functions begin with; the rest is the card's number."""
        return _mac(self.number, 0)[:-2]

    def card_mac(self, card: int) -> str:
        """MAC of a physical function, counted from 1."""
        return _mac(self.number, card)


def _mac(number: int, card: int) -> str:
    """QEMU's range, away from the 52:54:00:12:34:56 that everybody takes."""
    return f"52:54:00:76:{number:02x}:{card:02x}"
