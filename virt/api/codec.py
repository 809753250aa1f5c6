"""JSON to API objects and back.

Go programs write ``null`` for an empty list, map or time; the types know null only where it means something. So a
document that does not fit is tried once more without its nulls: the common case stays one pass.
"""

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def decode(data: bytes | str, type_: type[T]) -> T:
    """Read ``data`` as ``type_``. Raises msgspec.ValidationError (its message holds the JSON path) or DecodeError."""
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.ValidationError:
        return from_json(msgspec.json.decode(data), type_)


def from_json(document: object, type_: type[T]) -> T:
    """Like :func:`decode`, from an already parsed document."""
    try:
        return msgspec.convert(document, type_)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(document), type_)


def encode(obj: object) -> bytes:
    """JSON without the fields that have their default values."""
    return msgspec.json.encode(obj)


def to_json(obj: object) -> Any:
    """The parsed form of :func:`encode`: dicts, lists and scalars."""
    return msgspec.json.decode(msgspec.json.encode(obj))      # to_builtins would keep the tuples


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
