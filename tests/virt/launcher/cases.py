"""Cases of tests/virt/launcher/golden: a VMI and a host in, the whole domain out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from virt.api import codec, defaults, v1
from virt.api.clusterconfig import ClusterConfig
from virt.launcher.design import DiskSource, Prepared
from virt.rpc.messages import GivenFunction, HostFacts, WiredInterface

GOLDEN = Path(__file__).parent / "golden"
CASES = tuple(sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))


@dataclass(frozen=True)
class Case:
    """``vmi`` has gone through admission's defaults; ``xml`` is the file that holds the expected domain."""

    vmi: v1.VirtualMachineInstance
    facts: HostFacts
    prepared: Prepared
    xml: Path


def case(name: str) -> Case:
    folder = GOLDEN / name
    vmi = codec.from_json(_yaml(folder / "vmi.yaml"), v1.VirtualMachineInstance)
    host = _yaml(folder / "host.yaml")
    return Case(
        vmi=replace(vmi, spec=defaults.instance_spec(vmi.spec, ClusterConfig())),
        facts=msgspec.convert(host.get("facts", {}), HostFacts),
        prepared=Prepared(
            disks={volume: msgspec.convert(source, DiskSource) for volume, source in host.get("disks", {}).items()},
            kernel=host.get("kernel", ""), initrd=host.get("initrd", ""),
            interfaces=msgspec.convert(host.get("interfaces", []), tuple[WiredInterface, ...]),
            functions=msgspec.convert(host.get("functions", []), tuple[GivenFunction, ...]),
            devices=host.get("devices", {}),
        ),
        xml=folder / "domain.xml",
    )


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
