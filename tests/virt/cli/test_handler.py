from pathlib import Path

import pytest

from virt.cli.handler import SettingMissingError, settings


def test_the_daemon_set_says_where_it_is() -> None:
    found = settings([], {"NODE_NAME": "n", "POD_NAMESPACE": "kv"})
    assert (found.node, found.namespace) == ("n", "kv")
    assert found.certs == Path("/etc/virt/certs/kubevirt-virt-handler-server-certs")


def test_a_missing_node_name_is_said() -> None:
    with pytest.raises(SettingMissingError):
        settings([], {})
