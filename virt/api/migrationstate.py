"""``status.migrationState`` of a VMI: what controller, handlers and people share about its last migration. Pure."""

from typing import Final

from msgspec.structs import replace

from virt.api.v1 import VirtualMachineInstanceMigrationState as State

__all__ = ["ABORTED", "State", "failed", "is_under_way"]

ABORTED: Final = "Live migration has been aborted"


def is_under_way(state: State | None) -> bool:
    """Handed over to the nodes, and not over."""
    return state is not None and bool(state.migration_uid) and not state.completed and not state.failed


def failed(state: State, reason: str, now: str, *, aborted: bool = False) -> State:
    """``state`` of a migration that has failed. An abort, on request or by a timeout, has then succeeded."""
    return replace(
        state, failed=True, completed=True, failure_reason=reason, end_timestamp=now,
        abort_status="Succeeded" if aborted or state.abort_requested else state.abort_status,
    )
