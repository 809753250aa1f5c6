"""The resources this project reads or writes: where each lives in the API and which type it has."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """``group`` is "" for core resources. ``type`` is what the client decodes into (a msgspec struct, or dict)."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool
    type: type[T]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version
