"""Conditions of kubevirt.io objects."""

from virt.api.wire import Wire, always


class Condition(Wire):
    """``status``: "True", "False" or "Unknown". Clients expect both times to be there, null when unset."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_probe_time: str | None = always(None)
    last_transition_time: str | None = always(None)


class PhaseTransitionTimestamp(Wire):
    phase: str = ""
    phase_transition_timestamp: str | None = None
