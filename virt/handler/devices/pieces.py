"""Devices that each go to one pod at a time, as a device plugin offers them. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from virt.handler.devices.resources import Device, DeviceGoneError, DeviceNode, Given

GONE = "it is gone"


@dataclass(frozen=True)
class Piece:
    """``id``: the kubelet's name of it. ``told``: what the container reads of it in the environment. ``trouble``: why a
    guest cannot have it now, "" when it can."""

    id: str
    nodes: tuple[DeviceNode, ...] = ()
    told: tuple[str, ...] = ()
    numa_node: int | None = None
    trouble: str = ""


@dataclass(frozen=True)
class PiecesOffer:
    """:class:`virt.handler.devices.resources.Offer`. ``variable``: of the environment; ``what``: the kind of device,
    for people."""

    full_name: str
    variable: str
    what: str
    pieces: tuple[Piece, ...]

    @property
    def listed(self) -> tuple[Device, ...]:
        return tuple(Device(each.id, not each.trouble, each.numa_node) for each in self.pieces)

    @property
    def troubles(self) -> tuple[str, ...]:
        return tuple(
            f"{self.what} {each.id} of {self.full_name} is not given to guests: {each.trouble}"
            for each in self.pieces if each.trouble)

    def given(self, ids: Collection[str]) -> Given:
        check_given(self.what, self.full_name, ids, {each.id: each.trouble for each in self.pieces})
        chosen = [each for each in self.pieces if each.id in ids]
        return Given(
            nodes=tuple(dict.fromkeys(node for each in chosen for node in each.nodes)),
            env={self.variable: ",".join(text for each in chosen for text in each.told)},
        )


def check_given(what: str, resource: str, ids: Collection[str], troubles: Mapping[str, str]) -> None:
    """``troubles``: of all that is offered, by id. Raises DeviceGoneError."""
    for name in ids:
        trouble = troubles.get(name, GONE)
        if trouble:
            raise DeviceGoneError(f"{what} {name} of {resource} cannot be given to a pod: {trouble}")


def held(holder: str, name: str) -> str:
    """The trouble of a device that a pod has as ``holder``, for the resource ``name``; "" where that is the same."""
    return f"a pod has it as {holder}" if holder != name else ""


class Permitted(Protocol):
    @property
    def resource_name(self) -> str: ...

    @property
    def external_resource_provider(self) -> bool: ...


P = TypeVar("P", bound=Permitted)


def own(listed: Sequence[P]) -> Mapping[str, list[P]]:
    """Entries by resource, without resources that another plugin serves (externalResourceProvider)."""
    external = {each.resource_name for each in listed if each.external_resource_provider}
    found: dict[str, list[P]] = {}
    for each in listed:
        if each.resource_name not in external:
            found.setdefault(each.resource_name, []).append(each)
    return found
