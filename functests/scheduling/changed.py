"""``python -m functests.scheduling.changed``: the tests that a change touches or affects, five times in random order.

A changed test file counts itself; a changed helper all test files that import it, over any number of steps, the tests
of a folder whose conftest does, and every test when only the fixtures of all do; a changed part of the product the
areas that it is seen in, by the table below.
"""

import argparse
import ast
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from cluster_up import exec as host

ROOT = Path(__file__).parents[2]
TIMES = 5
ALL = ("",)
FIXTURES = "functests.conftest"
_GUEST = (
    "agent", "boot", "console", "lifecycle", "migration", "network", "portforward", "recovery", "security", "storage",
    "subresources", "vnc",
)

# Where code is -> areas (folders of functests) that show what it does. The first prefix that fits counts.
AREAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("virt/launcher/migration/", ("migration",)),
    ("virt/launcher/", _GUEST),
    ("virt/handler/migration/", ("migration",)),
    ("virt/handler/pci/", ("hostdevices",)),
    ("virt/handler/usb/", ("hostdevices",)),
    ("virt/handler/mdev/", ("hostdevices",)),
    ("virt/handler/", _GUEST),
    ("virt/controller/migration/", ("migration",)),
    ("virt/controller/evacuation/", ("migration",)),
    ("virt/controller/updates/", ("boot", "migration", "operator")),
    ("virt/controller/", ("boot", "lifecycle", "migration", "recovery", "storage", "cli", "security", "hostdevices")),
    ("virt/apiserver/", ("console", "vnc", "lifecycle", "portforward", "rbac", "cli", "agent", "subresources")),
    ("virt/webhooks/", ("admission", "boot", "agent", "lifecycle", "migration", "hostdevices")),
    ("virt/operator/", ("operator", "rbac", "recovery")),
    ("virt/virtctl/", ("cli", "docs", "portforward")),
    ("virt/", ALL),
    ("cluster_up/images/", ALL),            # guests, nodes, components: each test runs on them
    ("cluster_up/machines/", ("devcluster", "hostdevices")),
    ("cluster_up/", ("devcluster",)),
    ("requirements.lock", ALL),
    ("docs/", ("docs",)),
    ("functests/fixtures/", ALL),
    ("functests/conftest.py", ALL),
    ("conftest.py", ALL),
)


def imports(source: str, path: str = "") -> set[str]:
    """Names of modules that a source imports; ``from a import b`` counts as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def importers(changed: set[str], graph: Mapping[str, set[str]]) -> set[str]:
    """``changed`` and all modules of ``graph`` that import any of them, over any number of steps."""
    found = set(changed)
    while new := {module for module, uses in graph.items() if module not in found and uses & found}:
        found |= new
    return found


def affected(changed: Iterable[str], sources: Mapping[str, str]) -> list[str]:
    """Test files affected by changed files. ``sources``: the Python files under functests/, path -> text."""
    areas: set[str] = set()
    modules: set[str] = set()
    for path in changed:
        fits = [folders for prefix, folders in AREAS if path.startswith(prefix)]
        if fits:
            areas.update(fits[0])
        elif path in sources:
            modules.add(_module(path))
        elif path.startswith("functests/") and not path.endswith(".py"):    # tests of its folder read it
            areas.add(Path(path).parts[1])
    graph = {_module(path): imports(text, path) for path, text in sources.items()}
    tests = [path for path in sources if Path(path).name.startswith("test_")]
    hit: set[str] = set()
    for module in modules:
        found = importers({module}, graph)
        areas.update(name.split(".")[1] for name in found if name.endswith(".conftest") and name != FIXTURES)
        if FIXTURES in found and not found & {_module(path) for path in tests}:
            areas.update(ALL)
        hit |= found
    return sorted(
        path for path in tests if _module(path) in hit or "" in areas or Path(path).parts[1] in areas
    )


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Unknown(Exception):
    """What has changed cannot be told; the text says why, in one line."""


def changed_files(base: str) -> list[str]:
    """Changed since the work left ``base``, also what is not committed or not even added. Raises Unknown."""
    def ask(*words: str) -> list[str]:
        done = host.run(["git", *words], deadline_s=30, cwd=ROOT, check=False)
        if done.code != 0:
            said = (done.stderr.strip().splitlines() or ["there is no common commit"])[0]
            raise Unknown(f"git cannot tell what has changed since BASE={base}: {said}")
        return [*filter(None, done.stdout.split("\0"))]

    start = ask("merge-base", base, "HEAD")[0].strip()
    # -z: else git writes names with other letters than ASCII in a spelling of its own.
    return sorted({*ask("diff", "--name-only", "-z", start), *ask("ls-files", "--others", "--exclude-standard", "-z")})


def chosen(base: str) -> list[str]:
    """Test files to run. Raises Unknown."""
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "functests").rglob("*.py")}
    try:
        return affected(changed_files(base), sources)
    except SyntaxError as error:
        raise Unknown(f"{error.filename}:{error.lineno}: {error.msg}") from error


def main() -> int:
    parser = argparse.ArgumentParser(prog="functests.scheduling.changed")
    parser.add_argument("--base", default="main", help="what the change is measured against")
    parser.add_argument("--times", type=int, default=TIMES, help="how often each test runs")
    parser.add_argument("arguments", nargs="*", help="for pytest, behind --")
    options = parser.parse_args()
    try:
        tests = chosen(options.base)
    except Unknown as error:
        print(error, file=sys.stderr)
        return 2
    if not tests:
        print(f"nothing that the functional tests see has changed since {options.base}")
        return 0
    seed = random.SystemRandom().randrange(10_000)
    print(f"{len(tests)} files of tests are affected, each test {options.times} times, random order {seed}", flush=True)
    repeat = ["--repeat", str(options.times), "--shuffle", str(seed)]
    return int(pytest.main([*tests, *repeat, *options.arguments], plugins=[]))


if __name__ == "__main__":
    raise SystemExit(main())
