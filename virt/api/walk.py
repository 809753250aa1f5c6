"""Finding things in an API object by where they stand in its JSON form."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as types


def wire_fields(value: msgspec.Struct) -> Mapping[str, str]:
    """JSON name of a field -> its Python name."""
    return dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))


def select(value: Any, pattern: str, path: str) -> Iterator[tuple[str, Any]]:
    """All places that ``pattern`` names, as (path, value). ``devices.disks[].lun`` looks at every disk.

    ``path`` is that of ``value`` itself. Places below something absent are left out.
    """
    head, _, rest = pattern.partition(".")
    name = head.removesuffix("[]")
    field = wire_fields(value)[name]
    found = getattr(value, field)
    if head.endswith("[]"):
        places = [(f"{path}.{name}[{index}]", item) for index, item in enumerate(found)]
    else:
        places = [(f"{path}.{name}", found)]
    for place, item in places:
        if item is None:
            continue
        if rest:
            yield from select(item, rest, place)
        else:
            yield place, item


def paths(type_: type[msgspec.Struct]) -> Iterator[str]:
    """All fields of a type that hold plain values, in the notation of :func:`select`."""
    yield from _paths(types.type_info(type_), "")


def texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string in ``value``, keys of maps included, as (path, text)."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name, field in wire_fields(value).items():
            yield from texts(getattr(value, field), f"{path}.{name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield path, key
            yield from texts(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")


def _paths(info: types.Type, path: str) -> Iterator[str]:
    match info:
        case types.UnionType():
            for member in info.types:
                if not isinstance(member, types.NoneType):
                    yield from _paths(member, path)
        case types.VarTupleType():
            yield from _paths(info.item_type, f"{path}[]")
        case types.StructType() if info.fields:
            for field in info.fields:
                yield from _paths(field.type, f"{path}.{field.encode_name}".lstrip("."))
        case _:
            yield path
