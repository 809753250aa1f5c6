"""A guest's network as tests use it."""

import subprocess
from pathlib import Path

from functests.libs import guestnet


def test_a_lease_is_given_up_by_a_client_that_begins_late(tmp_path: Path) -> None:
    """The client begins when the script has, and takes the address away; only then the address is given."""
    client = "(sleep; command sleep 60 & echo $! > {0}/udhcpc.eth1.pid; wait; echo gone; rm {0}/udhcpc.eth1.pid) &"
    script = f"{client.format(tmp_path)} {guestnet.lease_given_up('eth1', str(tmp_path))}; echo address"
    done = subprocess.run(
        ["sh", "-c", f"sleep() {{ command sleep 0.1; }}; {script}"], check=True, timeout=20, capture_output=True,
        text=True)
    assert done.stdout.split() == ["gone", "address"]
