"""What is set of a function. The messages are under test in test_vfmessages.py."""

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


def test_a_card_that_is_not_there_is_named() -> None:
    with pytest.raises(CardError, match="no-such-card0"):
        functions.read("no-such-card0")


def test_a_link_without_functions_has_none() -> None:
    """The kernel's own answer."""
    assert functions.read("lo") == {}


@pytest.mark.parametrize(("wanted", "told"), [
    (FunctionState(mac="02:00:00:00:00:01"), "{'mac': '02:00:00:00:00:01'}"),
    (FunctionState(vlan=100, qos=3), "{'vlan': {'vlan': 100, 'qos': 3}}"),
    (FunctionState(spoof_check=False), "{'spoofchk': 0}"),
    (FunctionState(link_state="enable"), "{'link_state': 1}"),
    (FunctionState(trusted=True), "{'trust': 1}"),
])  # fmt: skip
def test_the_kernel_understands_each_setting(wanted: FunctionState, told: str) -> None:
    """It has no functions for this link, and says that; a message of another form would be an invalid argument."""
    with pytest.raises(CardError, match=r"Operation not (supported|permitted)") as error:
        functions.change("lo", 3, wanted, NEUTRAL)
    assert f"network card lo does not set {told} of its function 3: " in str(error.value)
