"""Whether a node's handler is alive, by its heartbeat. Pure."""

from datetime import datetime, timedelta
from typing import Final

from virt.api import core, names
from virt.base.clock import parse_time

SILENCE: Final = timedelta(minutes=5)


def is_lost(node: core.Node, now: datetime) -> bool:
    """Only an old heartbeat makes a node lost: none, an unreadable one or one from the future says nothing."""
    text = node.metadata.annotations.get(names.HEARTBEAT_ANNOTATION, "")
    try:
        return bool(text) and now - parse_time(text) > SILENCE
    except ValueError:
        return False
