"""What a person sees while functional tests run: a live table on a terminal, plain lines elsewhere.

Where only unit tests run there is nothing to add to pytest's own output.
"""

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.table import Table
from rich.text import Text

from functests.scheduling import machine
from functests.scheduling.run import Run

NODES_EVERY_S = 5.0
# cgroup v2, else v1.
_MEMORY = "cd /sys/fs/cgroup && cat memory.current 2>/dev/null || cat memory/memory.usage_in_bytes"


class View:
    """Tells nothing: for unit tests."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self._failed: set[str] = set()

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def tells(self, test: str) -> bool:
        return False

    def report(self, report: pytest.TestReport) -> None: ...


class Plain(View):
    """A line for each functional test that is over, and for a failure at once its kind."""

    def tells(self, test: str) -> bool:
        dispatch = self.run.dispatch
        return dispatch is not None and test in dispatch.functional

    def report(self, report: pytest.TestReport) -> None:
        if not self.tells(report.nodeid):
            return
        word = self._word(report)
        if word:
            self.line(word, report)

    def _word(self, report: pytest.TestReport) -> str:
        """"" while there is nothing to tell: the last phase says that all is well, a failure is told at once."""
        if report.failed:
            self._failed.add(report.nodeid)
            return "FAILED" if report.when == "call" else "ERROR"
        if report.skipped:
            self._failed.add(report.nodeid)
            return "SKIPPED"
        return "passed" if report.when == "teardown" and report.nodeid not in self._failed else ""

    def line(self, word: str, report: pytest.TestReport) -> None:
        dispatch = self.run.dispatch
        assert dispatch is not None
        record = dispatch.record(report.nodeid)
        seconds = dispatch.now() - record.started
        done = sum(bool(one.outcome) for one in dispatch.records) * 100 // len(dispatch.records)
        terminal = self.config.pluginmanager.getplugin("terminalreporter")
        colour = {"passed": {"green": True}, "SKIPPED": {"yellow": True}}.get(word, {"red": True})
        if terminal is not None and self.config.option.verbose >= 0:
            terminal.ensure_newline()
            terminal.write(f"{word:8}", **colour)
            terminal.write_line(f"{seconds:6.1f} s {record.worker:>5} {done:3d} % {report.nodeid}")


class OnTerminal(Plain):
    """The lines, and below them what is going on; it disappears when the run is over."""

    def start(self) -> None:
        self._terminal = self.config.pluginmanager.getplugin("terminalreporter")
        self._file: TextIO = self._terminal._tw._file
        self._console = Console(file=self._file)
        self._memory: dict[str, str] = {}
        self._over = threading.Event()
        self._live = Live(console=self._console, get_renderable=self.picture, refresh_per_second=2, transient=True,
                          redirect_stdout=False, redirect_stderr=False)  # fmt: skip
        # pytest's own lines go above the table.
        self._terminal._tw._file = FileProxy(self._console, self._file)
        self._live.start()
        threading.Thread(target=self._watch_nodes, daemon=True, name="node memory").start()

    def stop(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._live.stop()
            self._terminal._tw._file = self._file

    def picture(self) -> Group:
        dispatch = self.run.dispatch
        if dispatch is None:
            return Group(Text("collecting"))
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for worker, running in sorted(dict(dispatch.running).items()):
            doing = _read(self.run.folder / f"{worker}.doing")
            name = running.job.key.rpartition("/")[2]
            told = "" if doing.endswith(name) else doing
            table.add_row(worker, f"{dispatch.now() - running.since:4.0f} s", name[-60:], Text(told[:60], style="dim"))
        waiting = len(dispatch.admission.waiting)
        taken, limits = dispatch.admission.taken(), dispatch.admission.capacity.amounts()
        room = ", ".join(f"{taken[name]}/{limits[name]} {name}" for name in limits if limits[name])
        nodes = "  ".join(f"{name} {used}" for name, used in sorted(self._memory.items()))
        lines = [
            Text(f"{waiting} wait, {dispatch.now():.0f} s; taken {room}; machine {machine.available_mib()} MiB free"),
            Text(f"node memory: {nodes}" if nodes else "", style="dim"),
        ]
        refused = list(dispatch.refused.items())[:2]
        lines += [Text(f"{key.rpartition('::')[2]}: {reason}", style="dim") for key, reason in refused]
        return Group(table, *lines)

    def _watch_nodes(self) -> None:
        """Memory of each node's container. Whatever is wrong with that, the run does not depend on it."""
        with suppress(Exception):
            from functests.libs import cluster, nodes  # only here: a run of unit tests needs no cluster

            known = nodes.Nodes(cluster.load())
            while not self._over.wait(NODES_EVERY_S):
                for node in known:
                    code, text = node.try_run(_MEMORY)
                    if code == 0 and text.strip().isdigit():
                        self._memory[node.name] = f"{int(text) // 2**20} MiB"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def chosen(config: pytest.Config, run: Run) -> View:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    wants_table = sys.stdout.isatty() and not config.getoption("plain") and config.option.verbose <= 0
    if terminal is not None and wants_table and run.is_functional():
        return OnTerminal(config, run)
    return Plain(config, run)
