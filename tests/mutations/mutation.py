"""What a mutation is, and the files that list them. Pure but for reading those files.

    [compute-3]                                    # catalogue file, number of the line, letter of the breakage
    breaks = "the power button is pressed once and never again"
    file = "virt/launcher/guest.py"
    old = "a text that occurs exactly once in the file"
    new = "what stands there instead"
    cases = ["LIF-021"]                            # ids of functional cases, or
    tests = ["tests/virt/launcher/test_guest.py"]  # unit tests, where no functional case can see it

``edits`` is a list of tables with file, old and new, for a breakage that needs several. The case that tells soonest
comes first: the first red test ends a mutation.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from cluster_up.errors import ClusterError

FOLDER = Path(__file__).parent
_KEYS = {"breaks", "file", "old", "new", "edits", "cases", "tests"}
_EDIT = ("file", "old", "new")
# Number of the line and letter of the breakage; the last of the lines about migration is the first of devices.toml.
_OF_CATALOGUE = re.compile(r"((compute|control|migration|network)-\d+|devices-1)[a-z]?")


class MutationError(ClusterError):
    """A mutation that is written wrongly, or does not fit the source any more."""

    hint = "correct its entry in tests/mutations/*.toml"


@dataclass(frozen=True)
class Edit:
    """In ``file``, a path in the tree, ``old`` becomes ``new``."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """``cases``: functional cases that must turn red; ``tests``: unit tests instead. One of them is empty."""

    id: str
    breaks: str
    edits: tuple[Edit, ...]
    cases: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    @property
    def needs_cluster(self) -> bool:
        return bool(self.cases)

    @property
    def is_of_catalogue(self) -> bool:
        """Whether the catalogue of cases lists it; the others are the suite's own."""
        return _OF_CATALOGUE.fullmatch(self.id) is not None


def known(folder: Path = FOLDER) -> dict[str, Mutation]:
    """All mutations by id, in the order of the files. Raises MutationError."""
    found: dict[str, Mutation] = {}
    for file in sorted(folder.glob("*.toml")):
        for name, entry in tomllib.loads(file.read_text()).items():
            where = f"{file.name}: {name}"
            if name in found:
                raise MutationError(f"{where}: there is another one of this id")
            if not isinstance(entry, dict):
                raise MutationError(f"{where}: expected a table, got {entry!r}")
            found[name] = _mutation(where, name, entry)
    return found


def chosen(mutations: Mapping[str, Mutation], asked: Iterable[str]) -> list[Mutation]:
    """Those asked for, all when none is named; ``compute`` stands for all of its file, ``compute-1`` for 1a and 1b.

    Raises MutationError for a word that fits none.
    """
    words = list(asked)
    if not words:
        return list(mutations.values())
    found: dict[str, Mutation] = {}
    for word in words:
        fits = [name for name in mutations if word in (name, name.rstrip(ascii_lowercase), name.rpartition("-")[0])]
        if not fits:
            raise MutationError(f"{word!r} is no mutation", hint="`python -m tests.mutations --list` shows them all")
        found.update((name, mutations[name]) for name in fits)
    return list(found.values())


def broken(mutation: Mutation, root: Path) -> dict[str, str]:
    """The files of ``mutation`` as it makes them, by path in the tree ``root``. Raises MutationError."""
    texts: dict[str, str] = {}
    for edit in mutation.edits:
        path = root / edit.file
        if edit.file not in texts and not path.is_file():
            raise MutationError(f"{mutation.id}: there is no file {edit.file}")
        text = texts.get(edit.file) or path.read_text()
        count = text.count(edit.old)
        if count != 1:
            raise MutationError(f"{mutation.id}: {edit.file}: `old` occurs {count} times instead of once:\n{edit.old}")
        texts[edit.file] = text.replace(edit.old, edit.new)
    return texts


def _mutation(where: str, name: str, entry: Mapping[str, Any]) -> Mutation:
    strange = sorted(entry.keys() - _KEYS)
    if strange:
        raise MutationError(f"{where}: unknown fields {', '.join(strange)}; there are {', '.join(sorted(_KEYS))}")
    single = [{key: entry[key] for key in _EDIT if key in entry}] if "file" in entry else []
    edits = tuple(_edit(where, each) for each in (*single, *entry.get("edits", ())))
    cases, tests = tuple(entry.get("cases", ())), tuple(entry.get("tests", ()))
    if not str(entry.get("breaks", "")).strip():
        raise MutationError(f"{where}: breaks: say in a line what it breaks")
    if not edits:
        raise MutationError(f"{where}: file, old and new (or edits) are missing")
    if bool(cases) == bool(tests):
        raise MutationError(f"{where}: give either cases or tests")
    return Mutation(name, str(entry["breaks"]), edits, cases, tests)


def _edit(where: str, entry: Mapping[str, Any]) -> Edit:
    missing = [key for key in _EDIT if not isinstance(entry.get(key), str)]
    if missing:
        raise MutationError(f"{where}: {', '.join(missing)} of an edit must be texts, got {dict(entry)!r}")
    if not entry["old"].strip() or entry["old"] == entry["new"]:
        raise MutationError(f"{where}: old must say something, and something else than new: {entry['old']!r}")
    return Edit(entry["file"], entry["old"], entry["new"])
