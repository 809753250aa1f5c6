from types import SimpleNamespace

from prometheus_client import CollectorRegistry, generate_latest

from virt.api import core, v1
from virt.handler.migration.metrics import ProgressCollector
from virt.rpc.messages import DomainState, DomainStatus, MigrationPhase, MigrationReport

VMI = v1.VirtualMachineInstance(metadata=core.ObjectMeta(name="vm", namespace="ns", labels={"app.io/name": "x"}))
REPORT = MigrationReport(
    uid="m", phase=MigrationPhase.RUNNING, total=100, remaining=40, processed=60, dirty_rate=7, transfer_rate=8)


def text(*reports: MigrationReport | None) -> str:
    registry = CollectorRegistry()
    registry.register(ProgressCollector("node1", [
        SimpleNamespace(vmi=VMI, status=DomainStatus(state=DomainState.RUNNING, migration=report))
        for report in reports]))
    return generate_latest(registry).decode()


def test_a_guest_on_its_way_has_figures() -> None:
    found = text(REPORT)
    labels = '{kubernetes_vmi_label_app_io_name="x",name="vm",namespace="ns",node="node1"}'
    for name, value in (
        ("data_bytes_total", 100), ("data_processed_bytes", 60), ("data_remaining_bytes", 40),
        ("dirty_memory_rate_bytes", 7), ("memory_transfer_rate_bytes", 8),
    ):
        assert f"kubevirt_vmi_migration_{name}{labels} {value}.0\n" in found, found


def test_others_have_none() -> None:
    ended = MigrationReport(uid="m", phase=MigrationPhase.SUCCEEDED)
    assert [line for line in text(None, ended).splitlines() if not line.startswith("#")] == []
