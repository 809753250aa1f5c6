"""Running guests that are lent to one test after the other, by all workers of a run.

Each guest is a file in the run's folder, which its borrower holds locked: the kernel gives the lock back when a worker
dies, and the word in the file then says that the guest was in somebody's hands. A guest is made when no free one is
left, so there are as many as tests ever ran with one at once. Whoever gives one back has shown that it is as it was.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import msgspec

from functests.libs.warm import State

VARIABLE = "FUNCTEST_WARM"


def is_on() -> bool:
    return os.environ.get(VARIABLE) != "0"


class Record(msgspec.Struct, frozen=True):
    """What a file says. ``user``: the test that has the guest, or had it last; ``lent`` while it has it."""

    namespace: str
    uid: str
    state: State
    user: str
    lent: bool = True


class Guests(Protocol):
    """What is done to real guests."""

    def open(self) -> str:
        """A new namespace."""

    def boot(self, namespace: str) -> tuple[str, State, float]:
        """The guest of a new namespace, booted and at rest: its uid, its state, how many seconds its boot took."""

    def is_alive(self, record: Record) -> bool: ...

    def drop(self, namespace: str, user: str) -> None:
        """The guest and its namespace go; what cannot be taken away is told as left by ``user``."""


@dataclass
class Loan:
    """A guest in hand. ``record`` is None while it boots; ``boots_s`` has its boot when it was booted for this loan."""

    file: Path
    lock: IO[str]
    namespace: str
    record: Record | None
    boots_s: list[float] = field(default_factory=list)
    fresh: bool = False


class Pool:
    """The pool as one worker sees it. ``keeps`` False: every guest is for one test."""

    def __init__(self, folder: Path, guests: Guests, *, keeps: bool) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._guests, self.keeps = folder, guests, keeps
        self.loan: Loan | None = None

    def take(self, test: str) -> Loan:
        """A guest that is as it was when it had booted; booted now when none is free."""
        assert self.loan is None, f"{self.loan} was not given back"
        for loan in self._free():
            assert loan.record is not None
            if not loan.record.lent and self._guests.is_alive(loan.record):
                loan.record = msgspec.structs.replace(loan.record, user=test, lent=True)
                _write(loan)
                self.loan = loan
                return loan
            self._drop(loan, loan.record.user)
        namespace = self._guests.open()
        file, part = self._folder / f"{namespace}.json", self._folder / f"{namespace}.part"
        lock = part.open("w+")
        fcntl.flock(lock, fcntl.LOCK_EX)
        part.rename(file)                       # nobody sees it unlocked
        self.loan = loan = Loan(file, lock, namespace, None, fresh=True)
        uid, state, seconds = self._guests.boot(namespace)
        loan.boots_s.append(round(seconds, 1))
        loan.record = Record(namespace, uid, state, test)
        _write(loan)
        return loan

    def give_back(self, test: str, changed: str) -> None:
        """``changed``: why the next test must not have it; "" when it is as it was."""
        loan, self.loan = self.loan, None
        if loan is None:
            return
        if changed or loan.record is None or not self.keeps:
            self._drop(loan, test)
            return
        loan.record = msgspec.structs.replace(loan.record, lent=False)
        _write(loan)
        loan.lock.close()

    def close(self) -> list[tuple[str, str]]:
        """At the end of a worker: whatever nobody has in hand goes, also what a dead worker had. Returns what could not
        be taken away: who had it last, what is wrong. To raise here would make it an error of the worker's last test.
        """
        faults = []
        for loan in self._free():
            user = loan.record.user if loan.record else ""
            try:
                self._drop(loan, user)
            except Exception as error:  # noqa: BLE001 - the other guests shall go too
                faults.append((user, f"guest of {loan.namespace}: {error}"))
        return faults

    def _free(self) -> Iterator[Loan]:
        for file in sorted(self._folder.glob("*.json")):
            try:
                lock = file.open("r+")
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            if not file.exists():               # another worker dropped it just now
                lock.close()
                continue
            text = lock.read()                  # none: its worker died while it booted
            record = msgspec.json.decode(text, type=Record) if text else Record(file.stem, "", {}, "")
            yield Loan(file, lock, record.namespace, record)

    def _drop(self, loan: Loan, user: str) -> None:
        try:
            self._guests.drop(loan.namespace, user)
        finally:
            loan.file.unlink(missing_ok=True)
            loan.lock.truncate(0)
            loan.lock.close()


def _write(loan: Loan) -> None:
    loan.lock.seek(0)
    loan.lock.truncate()
    loan.lock.write(msgspec.json.encode(loan.record).decode())
    loan.lock.flush()
