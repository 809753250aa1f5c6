"""How the real client writes objects, without a server."""

from virt.api import core
from virt.kube import lightkube_client


def test_a_created_object_is_written_as_go_writes_it() -> None:
    revision = core.ControllerRevision(data={"spec": {"b": "<a> & b", "a": 1}})
    written = lightkube_client._as_go_writes(revision)
    assert rb'"data":{"spec":{"a":1,"b":"\u003ca\u003e \u0026 b"}}' in written, written
