"""What is asked again: reads that the API server could not answer, with a cause and a deadline; nothing else."""

from collections.abc import Callable, Iterator
from typing import cast

import pytest
from kubernetes.client import ApiClient

from functests.libs import patience, retries
from functests.libs.rest import Answer, Rest
from functests.libs.retries import Unanswered


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    retries.noted()
    yield
    retries.noted()


def _says(*answers: object) -> Callable[[], object]:
    left = [*answers]

    def act() -> object:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return act


def _answer(code: int, asked: str) -> Answer:
    return Answer(code, {"a": 1}, "etcdserver: request timed out", {}, asked)


@pytest.mark.parametrize(
    ("code", "asked", "is_its_own"),
    [
        (500, "GET /api/v1/pods", True),
        (503, "GET /apis/kubevirt.io/v1/virtualmachines", True),
        (429, "GET /api/v1/nodes", True),
        (404, "GET /api/v1/pods", False),
        (500, "POST /api/v1/namespaces", False),
        (500, "GET /apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/b/guestosinfo", False),
    ],
)
def test_only_a_failed_read_of_what_is_stored_is_the_api_servers_own_fault(
    code: int, asked: str, is_its_own: bool
) -> None:
    with pytest.raises(AssertionError, match=f"answered {code} to {asked}") as caught:
        _answer(code, asked).ok()
    assert isinstance(caught.value, Unanswered) is is_its_own
    assert _answer(200, asked).ok() == {"a": 1}


def test_a_wait_goes_on_behind_such_a_look_and_names_it() -> None:
    fault = Unanswered("the API server answered 500")
    seen = patience.eventually("it comes", _says(fault, 1, fault, 2), lambda count: count == 2, stop=lambda _: False)
    assert seen == 2
    assert retries.noted() == ["it comes: Unanswered: the API server answered 500"], "once for each cause"
    assert retries.noted() == []


def test_a_wait_for_silence_hears_nothing_in_such_a_look() -> None:
    patience.quiet("it comes", _says(Unanswered("500")), lambda _: True, for_s=0.0)
    with pytest.raises(AssertionError, match="it comes: 1"):
        patience.quiet("it comes", _says(Unanswered("500"), 1), bool, for_s=5)


def test_any_other_error_ends_a_wait_at_once() -> None:
    with pytest.raises(AssertionError, match="403"):
        patience.eventually("it comes", _says(AssertionError("403"), 1), bool)


def test_it_is_asked_again_until_it_answers_and_no_longer_than_the_deadline() -> None:
    assert retries.again("a look", _says(Unanswered("500"), KeyError("n1"), 7), of=(KeyError,)) == 7
    assert retries.noted() == ["a look: Unanswered: 500", "a look: KeyError: 'n1'"]
    with pytest.raises(Unanswered, match="503"):
        retries.again("a look", _says(Unanswered("503")), within_s=0.0)
    with pytest.raises(ValueError, match="mine"):
        retries.again("a look", _says(ValueError("mine"), 1))


def test_the_suites_own_looks_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [_answer(500, "GET /api/v1/pods"), Answer(200, {"items": [{"a": 1}]}, "", {}, "GET /api/v1/pods")]
    monkeypatch.setattr(Rest, "get", lambda self, path: answers.pop(0))
    assert Rest(cast("ApiClient", None)).items("/api/v1/pods") == [{"a": 1}]
    (cause,) = retries.noted()
    assert "answered 500" in cause, cause
