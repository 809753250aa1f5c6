"""What a test leaves behind: snapshots of nodes and API, and whose the difference is.

Pure decisions. An item is something that may be left: a process, a mount, a namespace. Tests run side by side, so a
difference alone accuses nobody: an item belongs to a test when its owner (a pod's or a VMI's UID, a namespace, the
client that wrote an object) is the test's. Looking is done by ledger_nodes and ledger_api.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

UID = re.compile(r"[0-9a-f]{8}([-_])[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")


def uid_in(text: str) -> str:
    """The last UID in a path or name, written with dashes; "" when there is none."""
    found = [match.group().replace("_", "-") for match in UID.finditer(text)]
    return found[-1] if found else ""


@dataclass(frozen=True, order=True)
class Item:
    """``where``: a node's name, or "api". Two looks at the same thing are equal, whatever is known of its owner."""

    kind: str
    where: str
    name: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} {self.name}"


@dataclass(frozen=True)
class Snapshot:
    """``at`` is seconds since 1970, when looking began. ``owners`` has no entry where the owner is not known."""

    at: float = 0.0
    items: frozenset[Item] = frozenset()
    owners: Mapping[Item, str] = field(default_factory=dict)
    pods: Mapping[str, str] = field(default_factory=dict)          # pod UID -> namespace
    follows: frozenset[Item] = frozenset()                         # go with their namespace, which is being deleted

    def __add__(self, other: "Snapshot") -> "Snapshot":
        return Snapshot(
            min(at for at in (self.at, other.at) if at) if self.at or other.at else 0.0,
            self.items | other.items,
            {**self.owners, **other.owners},
            {**self.pods, **other.pods},
            self.follows | other.follows,
        )


@dataclass
class Claim:
    """What is known to be the test's: namespaces, UIDs of its objects, the name its client writes under."""

    agent: str = ""
    namespaces: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    owners: dict[Item, str] = field(default_factory=dict)

    def learn(self, seen: Snapshot) -> None:
        """Owners are known while the pod lives; what is left later may not show them any more."""
        self.owners.update(seen.owners)
        self.uids.update(uid for uid, namespace in seen.pods.items() if namespace in self.namespaces)

    def has(self, owner: str) -> bool:
        return owner in self.uids or owner in self.namespaces or (bool(owner) and owner == self.agent)


@dataclass(frozen=True)
class Left:
    """``mine`` is the test's beyond doubt. ``unclear`` is new and shows no owner: any test of that time may have it."""

    mine: frozenset[Item] = frozenset()
    unclear: frozenset[Item] = frozenset()


def judge(before: Snapshot, after: Snapshot, claim: Claim) -> Left:
    """Whose is what is there now and was not there before."""
    claim.learn(after)
    mine, unclear = set(), set()
    for item in after.items - before.items - after.follows:
        owner = after.owners.get(item) or claim.owners.get(item, "")
        if claim.has(owner):
            mine.add(item)
        elif not owner:
            unclear.add(item)
    return Left(frozenset(mine), frozenset(unclear))


@dataclass(frozen=True)
class Debt:
    """Something that was there when ``test`` ended and should not stay: most goes away by itself a moment later."""

    item: Item
    test: str
    claim: Claim

    def is_paid(self, seen: Snapshot) -> bool:
        """It is gone, or it shows an owner now and that is another's."""
        owner = seen.owners.get(self.item, "")
        return self.item not in seen.items or (bool(owner) and not self.claim.has(owner))


def sentence(items: Iterable[Item]) -> str:
    return "\n".join(f"  {item}" for item in sorted(items))
