"""One run as the controller sees it: its folder, its scheduler, and at its end the account and the verdict on it."""

import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

import pytest

from functests.scheduling import durations, folders, lanes, machine, plan, rooms, xdist_compat
from functests.scheduling.dispatch import Dispatch

LOG = "scheduling.log"
BOOTED = "booted"               # user property of a report: guests that the test booted
POOL = "warm"                   # in the run's folder: guests that tests borrow, a file each


class Run:
    """``folder`` is seen by all workers of the run; ``artifacts`` stays when it is over."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.folder, self._held = folders.new()
        self.artifacts = config.rootpath / "artifacts"
        self.scheduler: xdist_compat.Scheduler | None = None
        self.passed: list[str] = []             # tests that ran and were not skipped, once each
        self.booted: dict[str, int] = {}        # of the tests that passed

    def close(self) -> None:
        """What the processes of a run told each other is of no use afterwards."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._held)

    @property
    def dispatch(self) -> Dispatch | None:
        return self.scheduler.dispatch if self.scheduler else None

    def make_scheduler(self, log: Any) -> xdist_compat.Scheduler:
        self.scheduler = xdist_compat.Scheduler(self._dispatch, log)
        return self.scheduler

    def _dispatch(self, ids: Sequence[str]) -> Dispatch:
        (file, *_) = sorted(self.folder.glob("*.plan"))
        entries = plan.corrected(plan.read(file), durations.booted(self.artifacts))
        assert [one.id for one in entries] == list(ids), "the plan is not of these tests"
        self.artifacts.mkdir(exist_ok=True)
        (self.artifacts / LOG).write_text("")
        made = Dispatch(
            entries,
            machine.capacity(warm=any(one.demand.warm for one in entries)),
            durations.known(self.artifacts),
            seed=self.config.getoption("shuffle"),
            log=self.log,
            available_mib=lambda: machine.available_mib() - machine.RESERVE_MIB,
            node_vcpus=rooms.node_vcpus,
        )
        amounts = ", ".join(f"{name} {amount}" for name, amount in made.admission.capacity.amounts().items())
        self.log(f"{0:8.1f} capacity: {amounts}; {len(entries)} tests, {made.expected_s:.0f} s of work expected")
        return made

    def is_functional(self) -> bool:
        """Whether there are functional tests among those that the first worker collected."""
        return any(not one.group for file in sorted(self.folder.glob("*.plan"))[:1] for one in plan.read(file))

    def log(self, line: str) -> None:
        with (self.artifacts / LOG).open("a") as log:
            log.write(line + "\n")

    def heading(self) -> list[str]:
        """One line for the top of the run's output."""
        lane = self.config.getoption("lane")
        seed = self.config.getoption("shuffle")
        parts = [f"lane {lane}"] if lane else []
        parts += [f"random order {seed}"] if seed is not None else []
        limits = machine.capacity()
        parts.append(f"room for {limits.vcpus} vCPUs and {limits.memory_mib} MiB of guests, {machine.cores()} boots")
        return ["functests: " + ", ".join(parts)]

    def ran(self, test: str) -> None:
        if test not in self.passed:
            self.passed.append(test)

    def faults(self, *, stopped: bool = False) -> list[str]:
        """Why the run failed although its tests may have passed. ``stopped``: somebody ended it, so that what it did
        not come to is no fault."""
        found = list(self.scheduler.problems) if self.scheduler else []
        if stopped:
            return found + (self.dispatch.problems if self.dispatch is not None else [])
        if self.dispatch is not None and not self.config.getoption("maxfail"):
            found += self.dispatch.audit()
        name = self.config.getoption("lane")
        if self.dispatch is not None and not self.dispatch.entries:
            ids = " ".join(str(argument) for argument in self.config.args if "::" in str(argument))
            asked = {"LANE": name, "FILTER": self.config.getoption("keyword"), "TEST": ids}
            words = " and ".join(f"{key}={text}" for key, text in asked.items() if text)
            found.append(f"no test fits {words or 'what was asked for'}")
        if name and not self.config.getoption("collectonly"):
            lane = lanes.LANES[name]
            found += lanes.shrunk(lane, len(self.passed), filtered=is_filtered(self.config))
            found += [f"lane {name}: the cluster lacks {what}" for what in lanes.lacking(lane, self._can())]
        return found

    def _can(self) -> list[str]:
        """What the cluster can do, as the tests of this run have measured it."""
        try:
            rows = json.loads((self.artifacts / "capabilities.json").read_text())["capabilities"]
        except (OSError, ValueError, KeyError):
            return []
        return [name for name, row in rows.items() if row["can"]]

    def finish(self) -> None:
        """Write the account; seconds of tests that did not run this time are kept for the next order."""
        if self.dispatch is None:
            return
        account = self.dispatch.to_json()
        known = durations.known(self.artifacts)
        known.update(
            {row["id"]: round(row["ended_s"] - row["started_s"], 2) for row in account["runs"] if row["outcome"]}
        )
        booted = {**durations.booted(self.artifacts), **self.booted}
        text = json.dumps({**account, "known": known, "booted": booted}, indent=1)
        (self.artifacts / durations.ACCOUNT).write_text(text)


def is_filtered(config: pytest.Config) -> bool:
    """Whether the person chose some of the tests, so that there may be few."""
    chosen = any("::" in str(arg) or str(arg).endswith(".py") for arg in config.args)
    return bool(chosen or any(config.getoption(name) for name in ("keyword", "markexpr", "collectonly")))
