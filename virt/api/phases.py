"""Phases of VMIs and migrations: which of them are final, and when one was entered. Pure."""

from collections.abc import Sequence
from typing import Final

from virt.api.v1 import PhaseTransitionTimestamp

FINAL: Final = ("Succeeded", "Failed")          # of pods too


def entering(
    known: tuple[PhaseTransitionTimestamp, ...], phase: str, now: str
) -> tuple[PhaseTransitionTimestamp, ...]:
    """``known`` with the entry of ``phase`` at ``now`` (RFC 3339)."""
    return (*known, PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp=now))


def entered_at(known: Sequence[PhaseTransitionTimestamp], *phases: str) -> str:
    """When one of ``phases`` was entered last (RFC 3339); "" when that is not known."""
    return next((entry.phase_transition_timestamp or "" for entry in reversed(known) if entry.phase in phases), "")
