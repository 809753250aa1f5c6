"""What a path asks for, and how long a permission is remembered."""

import pytest

from tests.fakes.clock import FakeClock
from tests.virt.apiserver.stand import Kube
from virt.apiserver.authorization import CACHE_S, Attributes, Authorizer, attributes, is_guarded
from virt.apiserver.identity import Identity

ROOT = "/apis/subresources.kubevirt.io/v1"


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("PUT", "/namespaces/ns/virtualmachines/a/start", ("update", "virtualmachines", "a", "start")),
        ("GET", "/namespaces/ns/virtualmachineinstances/a/vnc/screenshot",
         ("get", "virtualmachineinstances", "a", "vnc/screenshot")),
        ("GET", "/namespaces/ns/virtualmachineinstances/a/portforward/22/tcp",
         ("get", "virtualmachineinstances", "a", "portforward")),
        ("POST", "/namespaces/ns/virtualmachines/a/start", ("create", "virtualmachines", "a", "start")),
        ("GET", "/namespaces/ns/virtualmachines", ("list", "virtualmachines", "", "")),
        ("PUT", "/namespaces/ns/expand-vm-spec", ("update", "expand-vm-spec", "", "")),
    ],
)
def test_a_path_names_verb_resource_and_object(method: str, path: str, wanted: tuple[str, str, str, str]) -> None:
    verb, resource, name, subresource = wanted
    assert attributes(method, ROOT + path) == Attributes(verb, "v1", "ns", resource, name, subresource)


@pytest.mark.parametrize("path", [
    "/namespaces/ns", "/namespaces/ns/virtualmachines/..%2Fsecrets/start", "/namespaces/ns//a/start",
    "/namespaces/ns/virtualmachines/a%20b/start", "/namespaces/NS/virtualmachines/a/start",
])
def test_odd_paths_ask_for_nothing(path: str) -> None:
    assert attributes("PUT", ROOT + path) is None


def test_only_what_lies_in_a_namespace_is_guarded() -> None:
    assert is_guarded(f"{ROOT}/namespaces/ns/virtualmachines/a/start")
    assert not is_guarded(f"{ROOT}/version")
    assert not is_guarded("/virtualmachines-validate")


async def test_a_permission_is_remembered_for_a_moment_and_a_refusal_not_at_all() -> None:
    kube, clock = Kube(), FakeClock()
    kube.reviews = []
    authorizer = Authorizer(kube, clock)
    what = Attributes("update", "v1", "ns", "virtualmachines", "a", "start")
    for who, asked in (("alice", 1), ("mallory", 2)):
        kube.reviews.clear()
        for _ in range(2):
            assert await authorizer.allows(Identity(who), what) is (who == "alice")
        assert len(kube.reviews) == asked
    await clock.sleep(CACHE_S + 0.1)
    kube.reviews.clear()
    assert await authorizer.allows(Identity("alice"), what)
    assert len(kube.reviews) == 1


