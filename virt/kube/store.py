"""A cache of objects with indexes. Objects are frozen, so nobody can spoil what it hands out."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from virt.kube.objects import key_for, key_of

T = TypeVar("T")

Index = Callable[[T], Iterable[str]]


class Store(Generic[T]):
    """Objects by key (``namespace/name``) and by named indexes.

    ``indexes`` maps a name to a function that gives the values an object is found under:
    ``{"node": lambda vmi: (vmi.status.node_name,)}``.
    """

    def __init__(self, indexes: Mapping[str, Index[T]] | None = None) -> None:
        self._objects: dict[str, T] = {}
        self._functions = dict(indexes or {})
        self._indexed: dict[str, defaultdict[str, dict[str, None]]] = {
            name: defaultdict(dict) for name in self._functions
        }

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._objects.values()))

    def get(self, key: str) -> T | None:
        return self._objects.get(key)

    def find(self, namespace: str, name: str) -> T | None:
        return self._objects.get(key_for(namespace, name))

    def by_index(self, index: str, value: str) -> tuple[T, ...]:
        """The objects found under ``value``, in the order they came. Raises KeyError for an index nobody declared."""
        return tuple(self._objects[key] for key in self._indexed[index].get(value, ()))

    def put(self, obj: T) -> T | None:
        """Add or replace; returns what was there before."""
        key = key_of(obj)
        before = self.remove(key)
        self._objects[key] = obj
        for name, function in self._functions.items():
            for value in function(obj):
                self._indexed[name][value][key] = None
        return before

    def remove(self, key: str) -> T | None:
        """Returns what was there, None when nothing was."""
        before = self._objects.pop(key, None)
        if before is not None:
            for name, function in self._functions.items():
                for value in function(before):
                    found = self._indexed[name][value]
                    found.pop(key, None)
                    if not found:
                        del self._indexed[name][value]
        return before

    def replace(self, objects: Iterable[T]) -> list[tuple[T | None, T | None]]:
        """Become exactly ``objects``; returns the differences as (before, after), None for absent."""
        wanted = {key_of(obj): obj for obj in objects}
        changes: list[tuple[T | None, T | None]] = []
        for key in [key for key in self._objects if key not in wanted]:
            changes.append((self.remove(key), None))
        for key, obj in wanted.items():
            if self._objects.get(key) != obj:
                changes.append((self.put(obj), obj))
        return changes
