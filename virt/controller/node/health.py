"""Whether a node's handler is alive, by its heartbeat. Pure."""

from datetime import datetime, timedelta
from typing import Final

from virt.api import core, names
from virt.base.clock import parse_time

SILENCE: Final = timedelta(minutes=5)
# After the API server was away for long all heartbeats are old, and every handler writes its own within seconds.
HEARD_S: Final = 60.0


def is_lost(node: core.Node, now: datetime, heard_s: float) -> bool:
    """Only an old heartbeat makes a node lost: none, an unreadable one or one from the future says nothing.

    ``heard_s``: for how long we could have heard of a newer one.
    """
    if heard_s < HEARD_S:
        return False
    text = node.metadata.annotations.get(names.HEARTBEAT_ANNOTATION, "")
    try:
        return bool(text) and now - parse_time(text) > SILENCE
    except ValueError:
        return False
