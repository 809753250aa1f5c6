"""What counts as a change of a running guest, and how it is told."""

from typing import Any

import pytest

from functests.libs import warm
from functests.libs.console import ConsoleError
from functests.libs.kube import Space
from functests.libs.warm import State


def test_the_same_answers_are_no_change() -> None:
    assert warm.changes({"files": "a\nb"}, {"files": "a\nb"}) == ""


@pytest.mark.parametrize("name", [*warm._QUESTIONS, "console", "VMI", "pods", "objects"])
def test_another_answer_names_its_question_and_the_lines(name: str) -> None:
    before: dict[str, str] = dict.fromkeys([*warm._QUESTIONS, "console", "VMI", "pods", "objects"], "same\nold")
    assert warm.changes(before, before | {name: "same\nnew"}) == f"{name}:\n  -old\n  +new"


def test_a_long_difference_is_cut() -> None:
    said = warm.changes({"files": ""}, {"files": "\n".join(str(number) for number in range(50))}).splitlines()
    assert len(said) == 2 + warm.SHOWN
    assert said[-1] == f"  ... {50 - warm.SHOWN} more"


def test_a_difference_in_what_is_no_line_is_told_too() -> None:
    assert warm.changes({"console": "\r\n"}, {"console": "\r\n\r\n"}) != ""


VMI: dict[str, Any] = {
    "metadata": {"uid": "u", "generation": 3, "labels": {"a": "b"}, "resourceVersion": "7", "managedFields": []},
    "spec": {"domain": {}},
    "status": {"phase": "Running", "nodeName": "n", "interfaces": [{"ipAddress": "1"}],
               "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": "now"}]},
}  # fmt: skip


def changed(**parts: Any) -> dict[str, Any]:
    return {key: {**VMI[key], **parts.get(key, {})} for key in VMI}


@pytest.mark.parametrize(
    "parts",
    [
        {"metadata": {"annotations": {"c": "d"}}}, {"metadata": {"labels": {}}}, {"metadata": {"uid": "v"}},
        {"metadata": {"finalizers": ["x"]}}, {"spec": {"domain": {"cpu": 2}}}, {"status": {"phase": "Failed"}},
        {"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Paused", "status": "True"}]}},
    ],
)  # fmt: skip
def test_what_is_written_to_a_vmi_is_a_change(parts: dict[str, Any]) -> None:
    assert warm.of_vmi(changed(**parts)) != warm.of_vmi(VMI)


@pytest.mark.parametrize(
    "parts",
    [
        {"metadata": {"resourceVersion": "8", "managedFields": [1], "generation": 4}},
        {"status": {"interfaces": []}},
        {"status": {"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": "later"}]}},
    ],
)
def test_what_lives_by_itself_is_none(parts: dict[str, Any]) -> None:
    assert warm.of_vmi(changed(**parts)) == warm.of_vmi(VMI)


class Left:
    """A namespace with one object more than there was, until it is deleted."""

    def __init__(self) -> None:
        self.new = {"/api/v1/namespaces/ns/secrets/left"}

    def delete(self, path: str) -> None:
        self.new.discard(path)


def looked(monkeypatch: pytest.MonkeyPatch, after: State | Exception) -> tuple[str, Left]:
    rest: Any = Left()

    def look(space: Space, shell: object) -> State:
        if isinstance(after, Exception):
            raise after
        return after

    class Shell:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def of_api(space: Space) -> State:
        if isinstance(after, Exception):
            return {}
        return {**after, "objects": "\n".join(sorted(warm.objects(space)))}

    monkeypatch.setattr(warm, "SETTLES_S", 0.2)
    monkeypatch.setattr(warm, "objects", lambda space: frozenset({"/kept"} | space.rest.new))
    monkeypatch.setattr(warm, "of_api", of_api)
    monkeypatch.setattr(warm, "look", look)
    monkeypatch.setattr(warm, "Console", Shell)
    return warm.looked_again(Space(rest, "ns"), {"objects": "/kept", "boot": "1"}), rest


def test_what_the_test_made_is_deleted_before_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    said, rest = looked(monkeypatch, {"objects": "/kept", "boot": "1"})
    assert (said, rest.new) == ("", set())


@pytest.mark.parametrize("error", [ConsoleError("vm: nothing matched"), ConnectionError("refused"), KeyError("x")])
def test_a_guest_that_cannot_be_looked_at_is_not_handed_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    said, _ = looked(monkeypatch, error)
    assert str(error) in said


def test_what_the_api_still_says_when_the_time_is_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = looked(monkeypatch, {"objects": "/kept", "boot": "2"})
    assert said == "boot:\n  -1\n  +2"
