"""What a test takes of the machine: declared by its fixtures, corrected by its own ``demand`` mark.

A fixture says what every test that uses it takes (``@demands(...)`` under ``@pytest.fixture``); the mark says what this
test takes, field by field. Neither knows the machine: whether it fits is decided in admission.py.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ASSUMED_BOOT_S = 8.0        # only the order depends on it
GUEST_MIB = 400             # of the machine, for the guest of most tests
OVERHEAD_S = 3.0            # namespace, teardown


@dataclass(frozen=True)
class Demand:
    """``vcpus``, ``memory_mib`` and ``vfs`` are taken while the test runs. ``boots`` counts all boots of its guests,
    also of the same guest again. ``nodes`` is how many workers it needs; ``pinned`` how many vCPUs of guests it puts on
    one of them. ``warm`` counts guests that it borrows. ``exclusive`` has the cluster for itself; ``disruptive`` too,
    after all others. ``seconds`` is said only by tests that wait by design."""

    vcpus: int = 0
    memory_mib: int = 0
    vfs: int = 0
    boots: int = 0
    nodes: int = 0
    pinned: int = 0
    warm: int = 0
    exclusive: bool = False
    disruptive: bool = False
    seconds: float = 0

    @property
    def alone(self) -> bool:
        return self.exclusive or self.disruptive

    def estimate_s(self, boot_s: float = ASSUMED_BOOT_S) -> float:
        """How long it may take where no earlier run says so."""
        return self.seconds or OVERHEAD_S + self.boots * boot_s

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


FIELDS = tuple(field.name for field in fields(Demand))
_OF_FIXTURE: dict[str, Demand] = {}


def demands(**taken: Any) -> Callable[[F], F]:
    """Declares what a fixture takes. Goes under ``@pytest.fixture``, on the function itself."""

    def declare(function: F) -> F:
        _OF_FIXTURE[function.__name__] = Demand(**taken)
        return function

    return declare


def summed(parts: Iterable[Demand]) -> Demand:
    """Of several fixtures: amounts add up, needs for nodes and solitude do not."""
    total = Demand()
    for part in parts:
        total = Demand(
            vcpus=total.vcpus + part.vcpus,
            memory_mib=total.memory_mib + part.memory_mib,
            vfs=total.vfs + part.vfs,
            boots=total.boots + part.boots,
            nodes=max(total.nodes, part.nodes),
            pinned=max(total.pinned, part.pinned),
            warm=total.warm + part.warm,
            exclusive=total.exclusive or part.exclusive,
            disruptive=total.disruptive or part.disruptive,
            seconds=total.seconds + part.seconds,
        )
    return total


def of(fixtures: Iterable[str], marks: Iterable[Mapping[str, Any]], names: Iterable[str] = ()) -> Demand:
    """Demand of a test. ``marks``: keywords of its ``demand`` marks, the closest first; ``names``: its marks' names.

    Raises ValueError for a field that does not exist, since a misspelt demand would count as none.
    """
    found = summed(_OF_FIXTURE[name] for name in fixtures if name in _OF_FIXTURE)
    for mark in reversed(list(marks)):
        unknown = sorted(set(mark) - set(FIELDS))
        if unknown:
            raise ValueError(f"demand has no field {', '.join(unknown)}; it has {', '.join(FIELDS)}")
        found = replace(found, **mark)
    present = set(names)
    return replace(
        found,
        exclusive=found.exclusive or "serial" in present,
        disruptive=found.disruptive or "disruptive" in present,
    )
