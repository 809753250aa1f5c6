"""How an object of the cluster is shown in the text of a failure, which is cut after some hundred characters."""

from collections.abc import Mapping

_NOISE = ("managedFields",)


def shown(state: object) -> str:
    """What tells most comes first: the status, then the metadata without the history of its fields, then the rest.

    >>> shown({"kind": "Pod", "metadata": {"name": "a", "managedFields": []}, "status": {"phase": "Failed"}})
    "{'status': {'phase': 'Failed'}, 'metadata': {'name': 'a'}, 'kind': 'Pod'}"
    >>> shown((200, "all is well"))
    "(200, 'all is well')"
    """
    if not isinstance(state, Mapping) or not isinstance(metadata := state.get("metadata"), Mapping):
        return repr(state)
    status = {"status": state["status"]} if "status" in state else {}
    kept = {key: value for key, value in metadata.items() if key not in _NOISE}
    rest = {key: value for key, value in state.items() if key not in ("status", "metadata")}
    return repr({**status, "metadata": kept, **rest})
