"""The loading rules: which file, context, server, user and namespace count."""

import json
from pathlib import Path
from typing import Any

import pytest

from virt.virtctl.errors import AccessError
from virt.virtctl.kubeconfig import Flags, load


def config(name: str, **context: Any) -> dict[str, Any]:
    return {
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}:80/"}}],
        "users": [{"name": name, "user": {"token": f"secret-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, **context}}],
    }


def written(path: Path, document: Any) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_the_first_file_of_several_is_right_and_the_others_add(tmp_path: Path) -> None:
    first, second = written(tmp_path / "1", config("a", namespace="ns-a")), written(tmp_path / "2", config("b"))
    environment = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"}
    found = load(Flags(), environment)
    assert (found.server, found.namespace) == ("http://a:80", "ns-a")
    assert ("Authorization", "Bearer secret-a") in found.headers
    other = load(Flags(context="b", namespace="x", as_="alice", as_group=("g",)), environment)
    assert (other.server, other.namespace) == ("http://b:80", "x")
    assert ("Impersonate-User", "alice") in other.headers
    assert ("Impersonate-Group", "g") in other.headers
    assert load(Flags(user="b", cluster="b"), environment).namespace == "ns-a"


def test_flags_can_do_without_a_file(tmp_path: Path) -> None:
    found = load(Flags(server="http://x", token="t"), {"HOME": str(tmp_path)})
    assert (found.server, found.namespace, list(found.headers)) == (
        "http://x", "default", [("Authorization", "Bearer t")])


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (config("a"), Flags(context="nope"), "context 'nope' does not exist"),
        (config("a"), Flags(user="nope"), "user 'nope' does not exist"),
        ("token: secret-a\n  x: [", Flags(), "is no YAML: line 2"),
        ("- secret-a", Flags(), "is no kubeconfig"),
        ({}, Flags(), "no configuration has been provided"),
        ({**config("a"), "current-context": ""}, Flags(), "names no server"),
        ({**config("a"), "users": [{"user": {"token": "secret-a"}}]}, Flags(), "users[0] has to be a name and a user"),
        ({**config("a"), "clusters": {"a": {}}}, Flags(), "clusters[0] has to be a name and a cluster"),
        ({**config("a"), "contexts": [{"name": "a", "context": "b"}]}, Flags(), "contexts[0] has to be a name and"),
        ({**config("a"), "clusters": [{"name": "a", "cluster": {"server": "https://a"}}],
          "users": [{"name": "a", "user": {"client-certificate-data": "eA=="}}]}, Flags(), "has no client-key"),
        ({**config("a"), "clusters": [{"name": "a", "cluster": {
            "server": "https://a", "certificate-authority-data": "/w=="}}]}, Flags(), "certificates of the kubeconfig"),
        (config("a"), Flags(server="cluster:6443"), "'cluster:6443' is no URL: write it as https://HOST:PORT"),
        (config("a"), Flags(server="https://a:port"), "'https://a:port' is no URL"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is(tmp_path: Path, content: Any, flags: Flags, message: str) -> None:
    with pytest.raises(AccessError) as caught:
        load(flags, {"KUBECONFIG": written(tmp_path / "config", content)})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_was_named_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="no such file"):
        load(Flags(kubeconfig=str(tmp_path / "none")), {})


@pytest.mark.runs_processes
def test_a_plugin_gives_credentials(tmp_path: Path) -> None:
    answer = json.dumps({"status": {"token": "from-plugin"}})
    document = config("a")
    document["users"][0]["user"] = {"exec": {"command": "echo", "args": [answer]}}
    found = load(Flags(kubeconfig=written(tmp_path / "config", document)), {})
    assert ("Authorization", "Bearer from-plugin") in found.headers
