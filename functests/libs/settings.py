"""The KubeVirt object: read it, try changes of it, change it for the length of a block."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from functests.libs import patience, undo
from functests.libs.kube import Object, condition
from functests.libs.rest import JSON_PATCH, Answer, Rest

NAMESPACE = "kubevirt"
KUBEVIRTS = f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/kubevirts"


def kubevirt(rest: Rest) -> Object:
    """The one that is installed."""
    (found,) = rest.get(KUBEVIRTS).ok()["items"]
    return dict(found)


def path(rest: Rest) -> str:
    return f"{KUBEVIRTS}/{kubevirt(rest)['metadata']['name']}"


def tried(rest: Rest, spec: Mapping[str, Any]) -> Answer:
    """What the server says to ``spec`` as a merge patch; nothing is stored."""
    return rest.patch(f"{path(rest)}?dryRun=All", {"spec": spec})


@contextmanager
def changed(rest: Rest, spec: Mapping[str, Any]) -> Iterator[None]:
    """``spec`` is merged into the object's; behind the block it is what it was, to the letter, and rolled out.

    For tests marked ``serial``.
    """
    place, before = path(rest), kubevirt(rest)["spec"]
    note = undo.noted(undo.Settings(spec=before))
    rest.patch(place, {"spec": spec}).ok()
    try:
        yield
    finally:
        put_back(rest, before)
        note.done()


def put_back(rest: Rest, spec: Mapping[str, Any]) -> None:
    """The object has that spec, to the letter, and it is rolled out."""
    rest.patch(path(rest), [{"op": "replace", "path": "/spec", "value": spec}], JSON_PATCH).ok()
    wait_applied(rest)


def wait_applied(rest: Rest, *, within_s: float | None = None) -> Object:
    """Until the operator has rolled out the object as it is now, and everything is available."""

    def is_applied(found: Object) -> bool:
        return (
            found["status"].get("observedGeneration") == found["metadata"]["generation"]
            and condition(found, "Available").get("status") == "True"
            and condition(found, "Degraded").get("status") == "False"
        )

    return patience.eventually(
        "the KubeVirt object is rolled out", lambda: kubevirt(rest), is_applied,
        within_s=within_s if within_s is not None else 120 + patience.boots(1),
    )  # fmt: skip
