"""virtctl migrate and migrate-cancel, against a server of one answer each."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import pytest

from virt.virtctl import migration
from virt.virtctl.errors import CommandError


class Served:
    """In place of Server: paths are told, ``items`` are the migrations."""

    def __init__(self, *phases: str) -> None:
        self.items = [
            {"metadata": {"name": f"job{number}"}, "status": {"phase": phase}} for number, phase in enumerate(phases)]
        self.calls: list[tuple[str, str, Any]] = []

    def read(self, path: str) -> Any:
        self.calls.append(("GET", path, None))
        return {"items": self.items}

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        self.calls.append((method, path, body))
        return b""

    def subresource(self, plural: str, name: str, action: str) -> str:
        return f"{plural}/{name}/{action}"

    def object(self, plural: str, name: str) -> str:
        return f"{plural}/{name}"

    def collection(self, plural: str, *, labels: str) -> str:
        return f"{plural}?{labels}"


def test_a_migration_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    served = Served()
    given = Namespace(name="vm1", node_selector=["zone=a,disk=", "rack=7"], dry_run=False)
    assert migration.migrate(served, given) == 0  # type: ignore[arg-type]
    assert served.calls == [
        ("PUT", "virtualmachines/vm1/migrate", {"addedNodeSelector": {"zone": "a", "disk": "", "rack": "7"}})]
    assert capsys.readouterr().out == "VM vm1 was scheduled to migrate\n"


def test_a_selector_is_a_pair() -> None:
    with pytest.raises(CommandError, match="'zone' is not KEY=VALUE"):
        migration.migrate(Served(), Namespace(name="v", node_selector=["zone"]))  # type: ignore[arg-type]


def test_the_migration_that_is_not_over_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    served = Served("Succeeded", "Running", "Failed")
    assert migration.cancel(served, Namespace(name="vm1")) == 0  # type: ignore[arg-type]
    assert served.calls == [
        ("GET", "virtualmachineinstancemigrations?kubevirt.io/vmi-name=vm1", None),
        ("DELETE", "virtualmachineinstancemigrations/job1", None)]
    assert capsys.readouterr().out == "VM vm1 was scheduled to migrate-cancel\n"


def test_nothing_to_cancel_is_an_error() -> None:
    with pytest.raises(CommandError, match="Found no migration to cancel for vm1"):
        migration.cancel(Served("Failed"), Namespace(name="vm1"))  # type: ignore[arg-type]
