"""What the controller does before the first functional test: the run gets its name, leftovers of others go, and with
a run of a whole lane or of all tests the evidence of earlier ones.

A run that a limit of time ends (SIGTERM) ends as by Ctrl-C, so that its verdict is written; what it has no time to take
away the next one does.

Called by the root conftest only: runs of pytest inside of a test have a cluster neither to name nor to clear.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from functests.libs import artifacts_folder, runs
from functests.scheduling.run import is_filtered

FOLDER = "functests"
CUT_SHORT = pytest.StashKey[bool]()         # of the config: who ended the run will not wait for long


def is_wanted(arguments: list[str], root: Path, start: Path) -> bool:
    """Whether what the person named has functional tests in it. ``start``: where relative paths begin."""
    tests = root / FOLDER
    paths = [(start / argument.split("::", maxsplit=1)[0]).resolve() for argument in arguments]
    return any(path.is_relative_to(tests) or tests.is_relative_to(path) for path in paths)


def register(config: pytest.Config) -> None:
    """In the controller and in each worker, before anything is collected."""
    if hasattr(config, "workerinput"):
        runs.join()
    elif not config.option.collectonly and is_wanted(config.args, config.rootpath, config.invocation_params.dir):
        config.pluginmanager.register(Opening(config), "functest-opening")


class Opening:
    """Of the controlling process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._known: runs.Runs | None = None
        self._name = ""
        self._is_over = False
        self._begin()
        self._before = signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """When the tests are over the run ends anyway, and nothing may keep it from its verdict."""
        self._config.stash[CUT_SHORT] = True
        if not self._is_over:
            raise KeyboardInterrupt("ended by SIGTERM")

    def _begin(self) -> None:
        """Workers are started with this process's environment, so before them. Without a cluster there is no run."""
        try:
            known = runs.of_cluster()
            self._name, self._known = known.begin(), known
        except Exception:  # noqa: BLE001 - whoever needs the cluster says what is wrong with it
            return

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Workers, if any, collect meanwhile."""
        if not is_filtered(self._config):       # whoever runs one failed test again still reads about the others
            artifacts_folder.clear(self._config.rootpath / "artifacts")
        for line in self._lines():
            self._say(line)

    def _lines(self) -> list[str]:
        if self._known is None:
            return []
        from functests.scheduling import leftovers  # only here: it brings in clients of clusters and engines

        try:
            return leftovers.of_cluster().lines()
        except Exception as error:  # noqa: BLE001 - the tests say better what is wrong with the cluster
            said = (str(error).strip().splitlines() or [""])[0]
            return [f"could not look for what gone runs have left: {type(error).__name__}: {said}"]

    def _say(self, line: str) -> None:
        terminal: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"functests: {line}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        self._is_over = True
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        signal.signal(signal.SIGTERM, self._before)
        if self._known is not None:
            self._known.end(self._name)
