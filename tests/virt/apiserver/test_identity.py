"""Whom the front proxy's headers name."""

from multidict import CIMultiDict

from virt.api import core
from virt.apiserver.identity import FrontProxy, Identity, front_proxy, identity


def test_headers_name_user_groups_and_extras() -> None:
    headers = CIMultiDict([
        ("x-remote-user", "alice"), ("X-Remote-Group", "a"), ("X-Remote-Group", "b"),
        ("X-Remote-Extra-Scopes%2fView", "1"), ("X-Remote-Extra-Scopes%2FView", "2"),
    ])
    assert identity(headers, FrontProxy()) == Identity("alice", ("a", "b"), {"scopes/view": ("1", "2")})


def test_without_a_user_there_is_nobody() -> None:
    assert identity(CIMultiDict([("X-Remote-Group", "system:masters"), ("X-Remote-User", "")]), FrontProxy()) is None


def test_the_config_map_says_which_headers_count() -> None:
    proxy = front_proxy(core.ConfigMap(data={
        "requestheader-client-ca-file": "PEM", "requestheader-allowed-names": '["proxy"]',
        "requestheader-username-headers": '["X-User"]', "requestheader-group-headers": "broken",
    }))
    assert (proxy.ca, proxy.allowed_names) == ("PEM", frozenset({"proxy"}))
    assert identity(CIMultiDict([("X-User", "bob"), ("X-Remote-Group", "g")]), proxy) == Identity("bob", ("g",), {})


def test_without_the_config_map_no_authority_is_known() -> None:
    assert front_proxy(None).ca == ""
