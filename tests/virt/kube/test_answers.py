"""Bodies of an API server, without one."""

import json
from typing import Any

import msgspec
import pytest

from virt.api.kinds import CONFIG_MAP, untyped
from virt.kube import answers
from virt.kube.client import ApiError, ConflictError, ExpiredError, NotFoundError


def line(kind: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode()


def test_a_line_of_a_watch_is_an_event_with_its_version() -> None:
    found = answers.event(line("MODIFIED", {"metadata": {"name": "a", "resourceVersion": "7"}}), CONFIG_MAP)
    assert found is not None
    assert (found.type, found.obj.metadata.name, found.resource_version) == ("MODIFIED", "a", "7")
    assert answers.event(b" ", CONFIG_MAP) is None
    assert answers.event(line("LATER", {}), CONFIG_MAP) is None


def test_an_object_that_does_not_fit_is_left_out_and_the_others_stay() -> None:
    assert answers.event(line("ADDED", {"metadata": {"resourceVersion": "7"}, "data": 3}), CONFIG_MAP) is None
    assert answers.item(msgspec.Raw(b'{"data": {"a": 1}}'), CONFIG_MAP) is None
    assert answers.item(msgspec.Raw(b'{"data": {"a": "b"}}'), CONFIG_MAP) is not None


def test_objects_in_a_list_get_their_kind() -> None:
    kind = untyped("example.com", "v1", "things", "Thing", namespaced=True)
    assert answers.item(msgspec.Raw(b'{"a": 1}'), kind) == {"a": 1, "apiVersion": "example.com/v1", "kind": "Thing"}


def test_an_error_in_a_watch_is_raised_by_its_code() -> None:
    with pytest.raises(ExpiredError, match="too old"):
        answers.event(line("ERROR", {"code": 410, "reason": "Expired", "message": "too old"}), CONFIG_MAP)


@pytest.mark.parametrize(("code", "body", "wanted", "text"), [
    (404, b'{"reason": "NotFound", "message": "no such thing"}', NotFoundError, "404 NotFound: no such thing"),
    (409, b'{"reason": "AlreadyExists"}', ConflictError, "409 AlreadyExists: "),
    (409, b"", ConflictError, "409 Conflict: "),
    (502, b" a proxy's page ", ApiError, "502 Unknown: a proxy's page"),
])
def test_a_refusal_has_code_reason_and_text(code: int, body: bytes, wanted: type[ApiError], text: str) -> None:
    error = answers.error_of(code, body)
    assert (type(error), str(error)) == (wanted, text)


def test_what_cannot_be_read_says_what_it_was() -> None:
    with pytest.raises(ApiError, match=r"answer is no ConfigMap: .*it begins b'nonsense'"):
        answers.decode(b"nonsense", CONFIG_MAP.type)
