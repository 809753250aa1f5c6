"""What a test does to nodes, and to objects that are not its own, written down before it is done.

Who changes such a thing takes it back in the same block; where the process is killed inside of it, the note says to the
next run what is to be done (functests.scheduling.leftovers). A note is one step as data, in a file beside the run's.
"""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from functests.libs import runs
from functests.libs.rest import MERGE_PATCH


class Script(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A shell script of root on a node. ``of``: what it takes away, in a few words. ``late``: only when the guests of
    the run are gone, since they may use it."""

    node: str
    script: str
    of: str = ""
    late: bool = False

    def __str__(self) -> str:
        return f"{self.of or self.script} on {self.node}"


class Request(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A request of an administrator; that the object is not there any more (404) is as good."""

    method: str
    path: str
    body: Any = None
    content_type: str = MERGE_PATCH

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Taint(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A taint that a test put on a node."""

    node: str
    key: str
    effect: str

    def __str__(self) -> str:
        return f"{self.node}: taint {self.key}:{self.effect}"


class Power(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A node that was stopped or frozen."""

    node: str

    def __str__(self) -> str:
        return f"{self.node}: it was switched off"


class Settings(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The spec that the KubeVirt object had."""

    spec: dict[str, Any]

    def __str__(self) -> str:
        return "the settings of the KubeVirt object"


Step = Script | Request | Taint | Power | Settings


@dataclass(frozen=True)
class Note:
    """``file`` is None where nobody would read it, outside of a run."""

    file: Path | None

    def done(self) -> None:
        """It is undone: nothing is left to do for anybody."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def noted(step: Step) -> Note:
    """Write down what undoes what is done next."""
    run = runs.file()
    if run is None:
        return Note(None)
    file = run.with_name(f"{run.stem}.{time.time_ns()}-{secrets.token_hex(2)}.undo")
    part = file.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(step))
    part.rename(file)
    return Note(file)


def read(file: Path) -> Step:
    """Raises msgspec.DecodeError for what another version of the suite wrote."""
    found: Step = msgspec.json.decode(file.read_bytes(), type=Step)
    return found
