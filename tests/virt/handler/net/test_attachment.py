"""What definitions of bridge networks ask for, and which are refused."""

import json
import re
from typing import Any

import pytest

from virt.api import core
from virt.handler.net.attachment import Attachment, AttachmentError, attachment, card


def definition(config: Any) -> core.NetworkAttachmentDefinition:
    text = config if isinstance(config, str) else json.dumps(config)
    return core.NetworkAttachmentDefinition(
        metadata=core.ObjectMeta(name="red", namespace="ns"), spec=core.NetworkAttachmentDefinitionSpec(config=text))


@pytest.mark.parametrize(("config", "wanted"), [
    ({"type": "bridge", "bridge": "br10"}, Attachment("br10")),
    ({"type": "bridge"}, Attachment("cni0")),
    ({"cniVersion": "0.3.1", "name": "red", "type": "bridge", "bridge": "br10", "mtu": 1300, "macspoofchk": True,
      "ipam": {}, "isGateway": False, "vlan": 0, "preserveDefaultVlan": False}, Attachment("br10", 1300, True)),
    ({"cniVersion": "0.3.1", "name": "red", "plugins": [{"type": "bridge", "bridge": "br10"}, {"type": "tuning"}]},
     Attachment("br10")),
])
def test_a_plugin_or_a_list_says_which_bridge(config: Any, wanted: Attachment) -> None:
    assert attachment(definition(config), "nic") == wanted


BRIDGE = {"type": "bridge", "bridge": "br10"}


@pytest.mark.parametrize(("config", "said"), [
    ("", "is no JSON"),
    ("{", "is no JSON"),
    ("[" * 100_000, "is no JSON"),
    ("[]", "must have one plugin of type bridge where multus does not run, but has none"),
    ({"type": "macvlan"}, "but has macvlan"),
    ({"plugins": "x"}, "but has none"),
    ({"plugins": [BRIDGE, BRIDGE]}, "but has bridge, bridge"),
    ({"plugins": [BRIDGE, {"type": "tuning", "mac": "02:00:00:00:00:01"}]}, "has a plugin of type tuning"),
    ({"plugins": [BRIDGE, {"type": "portmap"}]}, "has a plugin of type portmap"),
    ({**BRIDGE, "bridge": "a bridge"}, "bridge 'a bridge' is no name of a link"),
    ({**BRIDGE, "bridge": "abcdefghijklmnop"}, "is no name of a link"),
    ({**BRIDGE, "bridge": ".."}, "is no name of a link"),
    ({**BRIDGE, "bridge": 7}, "is no name of a link"),
    ({**BRIDGE, "mtu": 67}, "mtu '67' is no number from 68 to 65535"),
    ({**BRIDGE, "mtu": True}, "mtu 'True' is no number"),
    ({**BRIDGE, "mtu": "1500"}, "mtu '1500' is no number"),
    ({**BRIDGE, "macspoofchk": "yes"}, "macspoofchk 'yes' is neither true nor false"),
    ({**BRIDGE, "vlan": 10}, "vlan 10 is done by multus only: give each VLAN a bridge of its own"),
    ({**BRIDGE, "ipam": {"type": "host-local"}}, "ipam {'type': 'host-local'} is done by multus only"),
    ({**BRIDGE, "isDefaultGateway": True}, "isDefaultGateway True is done by multus only"),
])
def test_what_is_not_done_is_named(config: Any, said: str) -> None:
    with pytest.raises(AttachmentError, match=re.escape(said)) as raised:
        attachment(definition(config), "nic")
    assert "network attachment definition ns/red of interface nic: spec.config" in str(raised.value)


def test_a_card_has_names_that_fit_and_are_its_own() -> None:
    found = card(Attachment("br10"), "pod6c270ef2f25", "", "uid-1")
    assert found == card(Attachment("br10"), "pod6c270ef2f25", "", "uid-1")
    assert (len(found.peer), found.mac[:3]) == (15, "02:")
    for name, pod in (("pod6c270ef2f25", "uid-2"), ("pod2daa9a9645f", "uid-1")):
        other = card(Attachment("br10"), name, "", pod)
        assert other.peer != found.peer
        assert other.mac != found.mac
    assert card(Attachment("br10"), "pod6c270ef2f25", "DE-AD-00-00-BE-EF", "uid-1").mac == "de:ad:00:00:be:ef"
