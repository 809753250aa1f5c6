import json
import sys
from pathlib import Path

import pytest

from virt.base.errors import SettingMissingError
from virt.base.exec import run
from virt.cli.handler import settings


def test_the_daemon_set_says_where_it_is() -> None:
    found = settings([], {"NODE_NAME": "n", "POD_NAMESPACE": "kv"})
    assert (found.node, found.namespace) == ("n", "kv")
    assert found.certs == Path("/etc/virt/certs/kubevirt-virt-handler-server-certs")


def test_a_missing_node_name_is_said() -> None:
    with pytest.raises(SettingMissingError):
        settings([], {})


@pytest.mark.runs_processes
async def test_a_daemon_that_cannot_start_says_where_help_is() -> None:
    ended = await run([sys.executable, "-m", "virt.cli.handler"], deadline_s=60, check=False)
    said = json.loads(ended.stderr.splitlines()[-1])
    assert ended.code == 1
    assert (said["msg"], said["errors"], said["reference"]) == (
        "could not start", ["no node name: NODE_NAME is not set"], "setting-missing")
    assert "--help" in said["hint"]
