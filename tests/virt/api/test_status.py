"""Status objects as clients read them."""

from virt.api import codec, status


def test_not_found_names_the_object() -> None:
    answer = codec.to_json(status.not_found("virtualmachine.kubevirt.io", "x"))
    assert answer["message"] == 'virtualmachine.kubevirt.io "x" not found'
    assert (answer["code"], answer["reason"], answer["status"]) == (404, "NotFound", "Failure")
    assert answer["details"] == {"name": "x", "group": "kubevirt.io", "kind": "virtualmachine"}


def test_at_most_ten_causes_are_reported_and_the_rest_counted() -> None:
    causes = tuple(status.StatusCause(message=f"m{number}", field="f") for number in range(12))
    answer = status.invalid(causes)
    assert answer.details is not None
    assert len(answer.details.causes) == 10
    assert answer.message.startswith("m0, m1, ")
    assert answer.message.endswith("m9, and 2 more validation errors")


def test_few_causes_are_just_joined() -> None:
    answer = status.invalid((status.StatusCause(message="a"), status.StatusCause(message="b")))
    assert (answer.code, answer.reason, answer.message) == (422, "Invalid", "a, b")
