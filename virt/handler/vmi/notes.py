"""What a launcher notes about its guest, in the words of events. Pure."""

from virt.handler.launchers.launcher import Note
from virt.rpc.messages import DiskError, GuestAgentSilent


def told(note: Note) -> tuple[str, str]:
    """Reason and message of the Warning."""
    match note:
        case DiskError(volume=volume, reason=reason):
            return "IOerror", f"volume {volume}: {reason}; the guest is paused"
        case GuestAgentSilent(seconds=seconds):
            return "GuestAgentPingFailed", f"The guest agent did not answer its probe within {seconds} s."
    return "GuestPanicked", "The guest panicked."
