"""Which failures of ``go`` are the network's."""

import pytest

from cluster_up.exec import Result, RunError
from cluster_up.images.golang import is_of_the_network


def failed(stderr: str, *, timed_out: bool = False) -> RunError:
    return RunError(Result(("go", "build"), "/", 1, "", stderr, 1.0), timed_out=timed_out)


@pytest.mark.parametrize("words", [
    'go: golang.org/x/net@v0.1.0: Get "https://proxy/x": net/http: TLS handshake timeout',
    'Get "https://proxy/x": read tcp 10.0.0.1:5: connection reset by peer',
    "reading https://proxy/golang.org/x/net/@v/v0.1.0.zip: 502 Bad Gateway",
    "go: downloading x: unexpected EOF",
])  # fmt: skip
def test_a_proxy_that_fails_is_asked_again(words: str) -> None:
    assert is_of_the_network(failed(words))


@pytest.mark.parametrize("words", [
    "./main.go:7:2: undefined: x", "reading https://proxy/x.info: 404 Not Found", "no space left on device",
])  # fmt: skip
def test_what_would_fail_again_is_not(words: str) -> None:
    assert not is_of_the_network(failed(words))
    assert not is_of_the_network(failed("i/o timeout", timed_out=True))
