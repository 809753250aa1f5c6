"""Several partial domains -> one. A field that two of them set is a conflict; lists are joined in order."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from virt.launcher.design.errors import DesignConflict
from virt.launcher.domain import Element

E = TypeVar("E", bound=Element)


def merged(parts: Sequence[E], path: str = "domain") -> E:
    """All that ``parts`` (at least one, of one class) say together. Raises DesignConflict, naming the field."""
    cls = type(parts[0])
    values = {}
    for entry in fields(cls):               # type: ignore[arg-type]   # every Element is a dataclass
        # Defaults of elements say nothing (see the codec), so what differs from them was set.
        given = [value for part in parts if (value := getattr(part, entry.name)) != entry.default]
        if given:
            values[entry.name] = _joined(given, f"{path}.{entry.name}")
    return cls(**values)


def _joined(given: list[Any], path: str) -> Any:
    if isinstance(given[0], tuple):
        return tuple(item for value in given for item in value)
    if isinstance(given[0], Element):
        return merged(given, path)
    if len(given) > 1:
        raise DesignConflict(f"{path} is set twice: {', '.join(map(repr, given))}")
    return given[0]
