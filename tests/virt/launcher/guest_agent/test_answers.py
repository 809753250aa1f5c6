"""What of a guest agent's answers is believed."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt.launcher.guest_agent import answers
from virt.rpc.messages import GuestInterface

KEYS = st.sampled_from((
    "name", "ip-addresses", "ip-address", "hardware-address", "version", "supported_commands", "host-name", "zone",
    "offset", "user", "domain", "login-time", "mountpoint", "disk", "serial", "pretty-name", "other",
))
WORDS = st.sampled_from(("", "lo", "eth0", "10.0.2.2", "fe80::1%eth0", "a\0b\n", "\u202e", "w" * 1000))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def texts(value: Any) -> Iterator[str]:
    """Every text in lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


@given(JSON)
def test_nonsense_is_left_out_and_never_an_error(answer: Any) -> None:
    for read in (
        answers.version_and_commands, answers.os_info, answers.interfaces, answers.host_name, answers.time_zone,
        answers.users, answers.file_systems,
    ):  # fmt: skip
        for text in texts(msgspec.to_builtins(read(answer))):
            assert len(text) <= answers.LONGEST_TEXT
            assert text.isprintable()


def test_interfaces_without_loopback_and_without_what_is_no_address() -> None:
    answer = [
        {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1"}]},
        {
            "name": "eth0", "hardware-address": "02:00:00:00:00:01",
            "ip-addresses": [
                {"ip-address": "10.0.2.2", "prefix": 24}, {"ip-address": "fe80::1%eth0"}, {"ip-address": "x"}, 7,
            ],
        },
    ]  # fmt: skip
    assert answers.interfaces(answer) == (
        GuestInterface(name="eth0", mac="02:00:00:00:00:01", ips=("10.0.2.2", "fe80::1")),
    )


def test_many_and_long_answers_are_cut() -> None:
    found = answers.interfaces([{"name": "e" * 100_000, "ip-addresses": []}] * 10_000)
    assert len(found) == answers.MOST_ITEMS
    assert len(found[0].name) == answers.LONGEST_TEXT
    assert len(answers.time_zone({"zone": "", "offset": 10**400})) == answers.LONGEST_TEXT


def test_operating_system_and_version() -> None:
    info = answers.os_info({"id": "debian", "pretty-name": "Debian\n13", "kernel-release": "6.12"})
    assert (info.id, info.pretty_name, info.kernel_release) == ("debian", "Debian13", "6.12")
    version, commands = answers.version_and_commands(
        {"version": "10.0", "supported_commands": [{"name": "guest-ping", "enabled": True, "success-response": True}]}
    )
    assert version == "10.0"
    assert [(command.name, command.enabled) for command in commands] == [("guest-ping", True)]


@pytest.mark.parametrize(("answer", "text"), [({"zone": "UTC", "offset": 0}, "UTC, 0"), ({}, ""), (None, "")])
def test_time_zone(answer: Any, text: str) -> None:
    assert answers.time_zone(answer) == text
