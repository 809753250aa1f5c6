"""Prints what has to be applied to a cluster, as YAML documents.

    python -m virt.cli.manifests operator --image I --launcher-image L --version V
    python -m virt.cli.manifests cr [--emulation] [--cpu-model M] [--tolerate TAINT ...]
"""

import argparse
import sys
from collections.abc import Sequence

import yaml

from virt.operator import static
from virt.operator.resources import Json
from virt.operator.target import Images


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="virt.cli.manifests", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    operator = commands.add_parser("operator", help="namespace, definition of KubeVirt, roles, the operator itself")
    operator.add_argument("--image", required=True, help="image of the operator, and of the other services")
    operator.add_argument("--launcher-image", required=True, help="image of the pods that run VMs")
    operator.add_argument("--version", required=True, help="what the operator reports as its version")
    for name in ("api", "controller", "handler"):
        operator.add_argument(f"--{name}-image", default="", help=f"image of virt-{name}, if it has its own")
    operator.add_argument("--replicas", type=int, default=2, help="of the operator (default %(default)s)")
    cr = commands.add_parser("cr", help="the KubeVirt object")
    cr.add_argument("--emulation", action="store_true", help="VMs may run without KVM")
    cr.add_argument("--cpu-model", default="", help="CPU model of VMs that name none (default: the node's)")
    cr.add_argument("--tolerate", action="append", default=[], help="key of a taint of nodes that run VMs all the same")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(argv)
    documents: tuple[Json, ...]
    if given.what == "cr":
        documents = (static.kubevirt(emulation=given.emulation, cpu_model=given.cpu_model, taints=given.tolerate),)
    else:
        images = Images(
            operator=given.image, api=given.api_image or given.image, handler=given.handler_image or given.image,
            controller=given.controller_image or given.image, launcher=given.launcher_image,
        )
        documents = static.operator(images, given.version, given.replicas)
    yaml.dump_all(documents, sys.stdout, Dumper=_Dumper, sort_keys=False)
    return 0


class _Dumper(yaml.SafeDumper):
    """Without anchors: people read and change what comes out."""

    def ignore_aliases(self, data: object) -> bool:
        return True


if __name__ == "__main__":
    sys.exit(main())
