"""The lanes: which tests each runs, what its cluster must be able to do, and how many tests it has at least.

Data, read by selection.py and run.py. ``least`` is raised with the tests: a lane that shrinks fails.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    """A test belongs to it by its tier, its area (letters of its case), one of its marks or a need; all empty: every
    test. ``without`` takes tests out again by their marks or needs."""

    name: str
    about: str
    least: int
    tiers: tuple[int, ...] = ()
    areas: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    must: tuple[str, ...] = ()

    def has(self, case: str, marks: Collection[str], needs: Collection[str]) -> bool:
        if set(self.without) & {*marks, *needs}:
            return False
        chosen = [
            not self.tiers or tier(case) in self.tiers,
            not self.areas or case.partition("-")[0] in self.areas,
            not self.marks or bool(set(self.marks) & {*marks, *needs}),
        ]
        return all(chosen)


# Cases of tier 1, which gate every change; all others are of tier 2.
TIER_1 = {
    "LIF": (1, 2, 7, 8, 9, 20, 22, 23, 33, 38, 45),
    "BOOT": (1, 2, 6, 17, 24, 31),
    "CON": (1, 3, 6),
    "VNC": (1,),
    "PFW": (1, 11),
    "AGT": (1, 11, 15),
    "MIG": (1, 2, 3, 5, 8, 11, 14, 24, 29, 50, 57),
    "BLK": (1, 2),
    "DRN": (1, 3),
    "REC": (1, 3, 6, 13, 34, 36),
    "UPD": (13,),
    "NET": (1, 2, 3, 4, 14, 18, 21, 48),
    "STO": (1, 10, 11, 16, 43, 52),
    "CDI": (1, 4, 11, 24),
    "SNP": (1, 2, 20),
    "ADM": (1, 2, 4, 31, 34),
    "SUB": (1, 3, 8),
    "RBAC": (1, 4),
    "OPR": (1, 2),
    "MET": (1, 16),
    "SEC": (1, 3, 4, 7, 23),
    "INS": (3, 18),
    "SET": (1, 11),
    "CLI": (1, 3, 8),
    "DEV": (1, 2, 4, 13, 15),
}


def tier(case: str) -> int:
    area, _, number = case.partition("-")
    return 1 if number.isdigit() and int(number) in TIER_1.get(area, ()) else 2


LANES = {
    lane.name: lane
    for lane in (
        Lane("tier1", "gates every change", least=90, tiers=(1,), must=("two-nodes",)),
        Lane("tier2", "the nightly breadth", least=370, tiers=(2,), without=("disruptive",), must=("two-nodes",)),
        Lane("migration", "guests that move", least=115, areas=("MIG", "BLK", "DRN", "UPD"), must=("two-nodes",)),
        Lane("storage", "disks, volumes, snapshots", least=33, areas=("STO", "CDI", "SNP", "V2V"), must=("two-nodes",)),
        Lane("sriov", "devices of the host", least=15, marks=("sriov", "hostdev"), must=("sriov",)),
        Lane("sriov-core", "what CI runs of lane sriov", least=5, marks=("sriov_core",), must=("sriov",)),
        Lane("disruptive", "components and nodes that fail", least=90, marks=("disruptive", "serial")),
    )
}


def shrunk(lane: Lane, ran: int, *, filtered: bool) -> list[str]:
    """The fault of a lane of which too few tests ran; skipped ones do not count. A chosen part may be small."""
    if filtered or ran >= lane.least:
        return []
    return [f"lane {lane.name} ran {ran} tests, it must have {lane.least} (functests/scheduling/lanes.py)"]


def lacking(lane: Lane, can: Iterable[str]) -> list[str]:
    """What the cluster must be able to do for this lane, and cannot."""
    return sorted(set(lane.must) - set(can))
