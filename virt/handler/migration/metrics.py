"""Progress of the guests that are leaving this node, for Prometheus: what their launchers reported last.

KubeVirt: pkg/monitoring/metrics/virt-handler/migrationdomainstats.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from prometheus_client import Metric
from prometheus_client.registry import Collector

from virt.api import v1
from virt.rpc.messages import DomainStatus, MigrationPhase, MigrationReport

_PREFIX: Final = "kubevirt_vmi_migration"


class Seen(Protocol):
    """:class:`virt.handler.launchers.launcher.Launcher`."""

    vmi: v1.VirtualMachineInstance
    status: DomainStatus | None


def _numbers(report: MigrationReport) -> dict[str, int]:
    return {
        "data_bytes": report.total, "data_processed_bytes": report.processed, "data_remaining_bytes": report.remaining,
        "dirty_memory_rate_bytes": report.dirty_rate, "memory_transfer_rate_bytes": report.transfer_rate,
    }


def families(node: str, launchers: Iterable[Seen]) -> Iterator[Metric]:
    """``data_bytes`` is a counter, whose sample is called ``data_bytes_total``."""
    found = {
        name: Metric(f"{_PREFIX}_{name}", text, "counter" if name == "data_bytes" else "gauge")
        for name, text in (
            ("data_bytes", "Bytes of memory and disks that a migration has to move."),
            ("data_processed_bytes", "Bytes that it has moved."),
            ("data_remaining_bytes", "Bytes that are left."),
            ("dirty_memory_rate_bytes", "Bytes of memory that the guest changes in a second."),
            ("memory_transfer_rate_bytes", "Bytes of memory that are moved in a second."),
        )
    }
    for launcher in launchers:
        report = launcher.status.migration if launcher.status is not None else None
        if report is None or report.phase is not MigrationPhase.RUNNING:
            continue
        for name, value in _numbers(report).items():
            suffix = "_total" if name == "data_bytes" else ""
            found[name].add_sample(f"{_PREFIX}_{name}{suffix}", labels(node, launcher.vmi), value)
    yield from found.values()


def labels(node: str, vmi: v1.VirtualMachineInstance) -> dict[str, str]:
    """Labels of a sample, the VMI's own among them; what Prometheus takes in no name becomes an underscore."""
    own = {f"kubernetes_vmi_label_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value
           for key, value in vmi.metadata.labels.items()}
    return {"node": node, "namespace": vmi.metadata.namespace or "", "name": vmi.metadata.name, **own}


class ProgressCollector(Collector):
    """For a registry of prometheus_client."""

    def __init__(self, node: str, launchers: Iterable[Seen]) -> None:
        self._node = node
        self._launchers = launchers

    def collect(self) -> Iterator[Metric]:
        yield from families(self._node, self._launchers)
