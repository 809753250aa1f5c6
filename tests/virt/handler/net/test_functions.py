"""What is set of a function. The netlink part was run on igb; here are the decisions."""

from typing import Any

import pytest

from virt.handler.net import functions
from virt.handler.net.functions import CardError, changed
from virt.handler.net.model import NEUTRAL, FunctionState


def test_only_what_differs_is_set() -> None:
    assert changed(NEUTRAL, NEUTRAL) == ()
    assert changed(FunctionState(mac="02:00:00:00:00:01"), NEUTRAL) == ({"mac": "02:00:00:00:00:01"},)


def test_everything_is_set_each_by_itself() -> None:
    wanted = FunctionState(
        mac="02:00:00:00:00:01", vlan=100, qos=3, spoof_check=False, trusted=True, link_state="disable")
    assert changed(wanted, NEUTRAL) == (
        {"mac": "02:00:00:00:00:01"}, {"vlan": {"vlan": 100, "qos": 3}}, {"spoofchk": 0}, {"link_state": 2},
        {"trust": 1})
    assert changed(NEUTRAL, wanted) == (
        {"mac": "00:00:00:00:00:00"}, {"vlan": {"vlan": 0, "qos": 0}}, {"spoofchk": 1}, {"link_state": 0}, {"trust": 0})


class Info:
    """A function as netlink tells it."""

    def __init__(self, **attributes: Any) -> None:
        self._attributes = {f"IFLA_VF_{name.upper()}": value for name, value in attributes.items()}

    def get_attr(self, name: str) -> Any:
        return self._attributes.get(name)


def test_a_driver_may_leave_things_out_or_not_know_them() -> None:
    mac = {"vf": 1, "mac": "02:00:00:00:00:01"}
    assert functions._state(Info(mac=mac)) == FunctionState(mac="02:00:00:00:00:01")
    unknown = Info(
        mac=mac, vlan={"vlan": 5, "qos": 0}, spoofchk={"spoofchk": 0xFFFFFFFF}, trust={"trust": 1},
        link_state={"link_state": 7})
    assert functions._state(unknown) == FunctionState(mac="02:00:00:00:00:01", vlan=5, trusted=True)


def test_a_card_that_is_not_there_is_named() -> None:
    with pytest.raises(CardError, match="no-such-card0"):
        functions.read("no-such-card0")
