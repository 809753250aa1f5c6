"""The command for people: thin, one function per verb. Results go to standard output, all else to standard error.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 130 interrupted.
"""

import errno
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cluster_up import commands
from cluster_up.actions import plan
from cluster_up.config import load
from cluster_up.config.types import Loaded
from cluster_up.errors import ClusterError, ConfigError, DoctorFailed
from virt.base.errors import VirtError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The dev cluster: nodes, registry, images, deployment.",
)


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


_INTERRUPTED = 130
Name = Annotated[str | None, typer.Option("--name", help="Which cluster; more than one can run side by side.")]
File = Annotated[Path | None, typer.Option("--config", help="Settings: a TOML or YAML file (docs/cluster-up.md).")]
Shown = Annotated[bool, typer.Option("--print-config", help="Print each setting and its source, and do nothing.")]
As = Annotated[Output, typer.Option("-o", "--output", help="How results are printed.")]


def _loaded(name: str | None, file: Path | None, **options: Any) -> Loaded:
    return load.load(file, {"name": name, **options})


@app.command()
def up(
    name: Name = None,
    config: File = None,
    print_config: Shown = False,
    until: Annotated[str | None, typer.Option(help=f"Stop after a step: {', '.join(plan.names())}.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker nodes.")] = None,
    machines: Annotated[int | None, typer.Option(help="More workers: virtual machines with SR-IOV cards.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Go on where doctor would refuse.")] = False,
) -> None:
    """Bring the cluster up; what is done already is left alone."""
    loaded = _loaded(name, config, workers=workers, machines=machines)
    if print_config:
        print(load.shown(loaded))
        return
    if until is not None and until not in plan.names():
        raise ConfigError([f"command line: --until: {until!r} is no step; allowed: {', '.join(plan.names())}"])
    commands.up(loaded.config, until=until, force=force)


@app.command()
def down(name: Name = None, config: File = None) -> None:
    """Take the cluster away: nodes, network, volumes, files. The cache stays."""
    commands.down(_loaded(name, config).config.name)


@app.command()
def sync(name: Name = None, config: File = None) -> None:
    """Build, push and roll out what changed in the source since the last time."""
    commands.sync(_loaded(name, config).config.name)


@app.command()
def guests(name: Name = None, config: File = None) -> None:
    """Build and push the guest images that `up` leaves for later (debian, tiny's own kernel). `up` starts this."""
    commands.guests(_loaded(name, config).config.name)


@app.command()
def first_vm(name: Name = None, config: File = None) -> None:
    """Create a small VM named `first`, and open its console; Ctrl-] leaves."""
    raise typer.Exit(commands.first_vm(_loaded(name, config).config.name))


@app.command()
def status(name: Name = None, config: File = None, output: As = Output.TEXT) -> None:
    """What runs, and whether it is well. Fails where there is no cluster or a part of it is broken."""
    found = commands.status(_loaded(name, config).config.name)
    print(json.dumps(found.document(), indent=2) if output is Output.JSON else found.text())
    raise typer.Exit(0 if found.healthy else 1)


@app.command()
def doctor(output: As = Output.TEXT) -> None:
    """What this machine has and lacks for a cluster. Changes nothing."""
    found = commands.doctor()
    print(json.dumps([check.document() for check in found], indent=2) if output is Output.JSON else
          "\n".join(check.text() for check in found))  # fmt: skip
    raise typer.Exit(1 if any(check.verdict == "fail" for check in found) else 0)


@app.command()
def logs(
    name: Name = None,
    config: File = None,
    folder: Annotated[Path, typer.Option(help="Where the files go.")] = Path("artifacts/logs"),
) -> None:
    """Collect the logs of components, nodes and of the last commands into a folder."""
    print(commands.logs(_loaded(name, config).config.name, folder))


@app.command()
def shell(node: str, name: Name = None, config: File = None) -> None:
    """A shell on a node."""
    raise typer.Exit(commands.shell(_loaded(name, config).config.name, node))


@app.command()
def kubeconfig(name: Name = None, config: File = None) -> None:
    """Print the path of the administrator's kubeconfig."""
    print(commands.kubeconfig(_loaded(name, config).config.name))


def main() -> None:
    """Run, and turn errors into one message with a hint and an exit code."""
    try:
        app()
    except (ClusterError, VirtError) as error:
        _say(error)
        sys.exit(error.exit_code if isinstance(error, ClusterError) else 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _say(DoctorFailed(f"a disk is full: {error}", hint="make room; the same command goes on where it stopped"))
        sys.exit(DoctorFailed.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:      # typer made this of Ctrl-C, without a word
            print("interrupted; the same command goes on where it stopped, `down` takes it all away", file=sys.stderr)
        raise


def _say(error: ClusterError | VirtError) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]error[/]: {error.reference}", end="\n")
    console.print(str(error), markup=False)
    if error.hint:
        console.print("[bold]hint[/]: ", end="")
        console.print(error.hint, markup=False)
    console.print(f"more: docs/troubleshooting.md#{error.reference}", style="dim")
