"""virtctl: what kubectl cannot do with virtual machines. Also ``kubectl virt``.

Each verb is a row of :data:`VERBS`; the module that does the work is imported only when its verb is used, so that
virtctl starts quickly.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from virt.base.errors import VirtError
from virt.virtctl import kubeconfig
from virt.virtctl.errors import CommandError
from virt.virtctl.kubeconfig import Flags
from virt.virtctl.server import Server

Argument = tuple[tuple[str, ...], dict[str, Any]]
Run = Callable[[Any, argparse.Namespace], int]


@dataclass(frozen=True)
class Verb:
    """``run``: ``module:function`` in this package. ``example`` is what follows the program's name."""

    name: str
    run: str
    help: str
    example: str
    arguments: tuple[Argument, ...] = ()


def _flag(*names: str, **options: Any) -> Argument:
    return names, options


_NAME: Final = _flag("name", metavar="NAME")
_KIND: Final = _flag("kind", metavar="vm|vmi", choices=("vm", "vmi", "virtualmachine", "virtualmachineinstance"))
_DRY_RUN: Final = _flag("--dry-run", action="store_true", help="only check whether it could be done")
_FORCE: Final = (
    _flag("--force", action="store_true", help="with --grace-period: do not wait for the guest longer than that"),
    _flag("--grace-period", type=int, metavar="SECONDS", help="with --force: how long the guest may take to shut down"),
)

_VOLUME: Final = (
    _NAME, _flag("--volume-name", default="", metavar="CLAIM", help="the claim, after which the volume is called"),
    _flag("--persist", action="store_true", help="in the virtual machine's template: it is there after a restart"),
    _DRY_RUN)

VERBS: Final = (
    Verb("console", "console:console", "Connect to the serial console of a virtual machine instance.", "console myvm", (
        _NAME, _flag("--timeout", type=int, default=5, metavar="MINUTES", help="how long to wait for it to run"))),
    Verb("vnc", "vnc:vnc", "Open a VNC connection to a virtual machine instance, or take a screenshot.",
         "vnc myvm --proxy-only", (
             _flag("target", nargs="+", metavar="NAME", help="a name, or `screenshot` and a name"),
             _flag("--proxy-only", action="store_true", help="print the local port as JSON and start no viewer"),
             _flag("--port", type=int, default=0, help="local port; 0 for any"),
             _flag("--address", default="127.0.0.1", help="local address"),
             _flag("-f", "--file", default="", help="where a screenshot goes; - is standard output"))),
    Verb("port-forward", "forward:forward", "Forward local ports to a virtual machine, until Ctrl-C.",
         "port-forward vm/myvm 2222:22", (
             _flag("target", metavar="KIND/NAME[/NAMESPACE]", help="vm/NAME or vmi/NAME"),
             _flag("ports", nargs="+", metavar="[tcp/]LOCAL[:REMOTE]", help="REMOTE is LOCAL if it is not given"),
             _flag("--address", default="127.0.0.1", help="local address"),
             _flag("--stdio", action="store_true", help="one port on standard input and output, as ssh wants it"))),
    Verb("start", "lifecycle:start", "Start a virtual machine.", "start myvm", (
        _NAME, _flag("--paused", action="store_true", help="create the guest without running it"), _DRY_RUN)),
    Verb("stop", "lifecycle:stop", "Stop a virtual machine.", "stop myvm", (_NAME, *_FORCE, _DRY_RUN)),
    Verb("restart", "lifecycle:restart", "Restart a virtual machine.", "restart myvm", (_NAME, *_FORCE, _DRY_RUN)),
    Verb("pause", "lifecycle:pause", "Pause a virtual machine.", "pause vm myvm", (_KIND, _NAME, _DRY_RUN)),
    Verb("unpause", "lifecycle:unpause", "Unpause a virtual machine.", "unpause vm myvm", (_KIND, _NAME, _DRY_RUN)),
    Verb("migrate", "migration:migrate", "Migrate a virtual machine to another node.", "migrate myvm", (
        _NAME, _DRY_RUN,
        _flag("--addedNodeSelector", dest="node_selector", action="append", default=[], metavar="KEY=VALUE,...",
              help="labels that the other node has to have; may be repeated"))),
    Verb("migrate-cancel", "migration:cancel", "Cancel the migration of a virtual machine.", "migrate-cancel myvm", (
        _NAME,)),
    Verb("addvolume", "volumes:add", "Add a claim to a running virtual machine as a disk.",
         "addvolume myvm --volume-name=myclaim", (
             *_VOLUME, _flag("--serial", default="", help="the disk's serial number; the volume's name if not given"),
             _flag("--bus", default="scsi", help="scsi or virtio"),
             _flag("--disk-type", default="disk", choices=("disk", "lun"), help="disk or lun"),
             _flag("--cache", default="", choices=("", "none", "writethrough", "writeback"), help="the disk's cache"))),
    Verb("removevolume", "volumes:remove", "Take a volume that was added out of a virtual machine.",
         "removevolume myvm --volume-name=myclaim", _VOLUME),
    Verb("soft-reboot", "lifecycle:soft_reboot", "Ask the guest to reboot.", "soft-reboot myvmi", (_NAME,)),
    Verb("reset", "lifecycle:reset", "Reset a guest, as its reset button would.", "reset myvmi", (_NAME,)),
    Verb("guestosinfo", "lifecycle:guest", "What the guest agent tells of the system.", "guestosinfo myvmi", (_NAME,)),
    Verb("userlist", "lifecycle:guest", "Who is logged in to the guest.", "userlist myvmi", (_NAME,)),
    Verb("fslist", "lifecycle:guest", "The file systems of the guest.", "fslist myvmi", (_NAME,)),
    Verb("version", "version:version", "The versions of the client and of the server.", "version", (
        _flag("-c", "--client", action="store_true", help="the client's only; no server is needed"),
        _flag("-o", "--output", choices=("", "json"), default="", help="json, or lines"))),
)

_GLOBAL: Final = (
    _flag("--kubeconfig", metavar="FILE", help="the kubeconfig file to use"),
    _flag("--context", help="the context of the kubeconfig to use"),
    _flag("--cluster", help="the cluster of the kubeconfig to use"),
    _flag("--user", help="the user of the kubeconfig to use"),
    _flag("-n", "--namespace", help="the namespace of the object"),
    _flag("-s", "--server", metavar="URL", help="the address of the API server"),
    _flag("--token", help="bearer token to show to the API server"),
    _flag("--certificate-authority", metavar="FILE", help="the API server's certificate authority"),
    _flag("--insecure-skip-tls-verify", action="store_true", help="do not verify the API server's certificate"),
    _flag("--as", dest="as_", metavar="USER", help="act as this user"),
    _flag("--as-group", action="append", metavar="GROUP", help="act as a member of this group"),
)

_SWITCHES: Final = frozenset(
    name for names, options in (*_GLOBAL, *(argument for verb in VERBS for argument in verb.arguments))
    if options.get("action") == "store_true" for name in names)
_SAID: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "F", "false", "False", "FALSE"), False),
}


class _Parser(argparse.ArgumentParser):
    """Wrong use is one line on standard error and exit status 1, as with KubeVirt's virtctl."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{self.prog}: {message}; see `{self.prog} --help`")


def parser(program: str) -> argparse.ArgumentParser:
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("flags of every command")
    for names, options in _GLOBAL:
        group.add_argument(*names, **options)
    top = _Parser(prog=program, description="Controls virtual machines on a Kubernetes cluster.", parents=[shared],
                  allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", title="commands")
    for verb in VERBS:
        sub = verbs.add_parser(
            verb.name, help=verb.help, description=verb.help, parents=[shared], allow_abbrev=False,
            epilog=f"Example: {program} {verb.example}")
        for names, options in verb.arguments:
            sub.add_argument(*names, **options)
    verbs.add_parser("help", help="Help about any command.").add_argument("about", nargs="*")
    return top


def _words(argv: Sequence[str], program: str) -> list[str]:
    """Scripts write ``--force=true``, which all programs in Go take; argparse knows a switch by its bare name only."""
    words = []
    for word in argv:
        name, equals, said = word.partition("=")
        if not equals or name not in _SWITCHES:
            words.append(word)
        elif said not in _SAID:
            raise CommandError(f"{program}: {word}: {said!r} is neither true nor false")
        elif _SAID[said]:
            words.append(name)
    return words


def flags(given: argparse.Namespace) -> Flags:
    named = {name: value for name, value in vars(given).items() if name in Flags.__dataclass_fields__ and value}
    return Flags(**{**named, "as_group": tuple(named.get("as_group", ()))})


def run(argv: Sequence[str], program: str) -> int:
    """One command; its exit status. Raises VirtError."""
    top = parser(program)
    given = top.parse_args(_words(argv, program))
    if given.verb in (None, "help"):
        asked = getattr(given, "about", [])
        if asked:
            top.parse_args([*asked[:1], "--help"])
        top.print_help()
        return 0
    verb = next(verb for verb in VERBS if verb.name == given.verb)
    module, _, function = verb.run.partition(":")
    act: Run = getattr(importlib.import_module(f"virt.virtctl.{module}"), function)
    if getattr(given, "client", False):
        return act(None, given)
    if hasattr(given, "kind"):
        given.kind = {"virtualmachine": "vm", "virtualmachineinstance": "vmi"}.get(given.kind, given.kind)
    return act(Server(kubeconfig.load(flags(given), os.environ)), given)


def main() -> int:
    program = "kubectl virt" if Path(sys.argv[0]).name.startswith("kubectl-virt") else "virtctl"
    try:
        return run(sys.argv[1:], program)
    except VirtError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
