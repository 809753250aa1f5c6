"""What an admission webhook's refusal must look like, and tables of faults that are all tried before one is told."""

from collections.abc import Iterable

from functests.libs.build import Manifest, merged
from functests.libs.kube import Space
from functests.libs.rest import Answer


def misfit(answer: Answer, field: str) -> str:
    """"" when ``answer`` is 422 Invalid with exactly one cause, at ``field``; else what it is instead."""
    fields = [cause.get("field") for cause in answer.causes]
    if (answer.code, answer.body.get("reason"), fields) == (422, "Invalid", [field]):
        return ""
    got = f"{answer.code} {answer.body.get('reason')} at {fields}"
    return f"expected 422 at [{field!r}], got {got}: {answer.message[:300]}"


def table(space: Space, faults: Iterable[tuple[str, str, Manifest]]) -> list[str]:
    """Tries each (name of the fault, field, manifest) without storing it; returns the misfits."""
    return [
        f"{what}: {text}"
        for what, field, manifest in faults
        if (text := misfit(space.try_create(manifest, dry_run=True), field))
    ]


def misses(space: Space, control: Manifest, faults: Iterable[tuple[str, str, Manifest]]) -> list[str]:
    """As :func:`table`, each fault being a merge patch on ``control``, which must be admitted itself."""
    admitted = space.try_create(control, dry_run=True)
    assert admitted.code == 201, f"the control: {admitted.text}"
    return table(space, [(what, field, merged(control, patch)) for what, field, patch in faults])
