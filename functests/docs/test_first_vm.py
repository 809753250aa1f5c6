"""The page "Your first VM", done as it says."""

import re
from collections.abc import Iterator

import pytest

from functests.libs import commands, patience
from functests.libs.cluster import Cluster
from functests.libs.rest import Rest

PAGE = commands.ROOT / "docs" / "first-vm.md"
NAMESPACE = "/api/v1/namespaces/first-vm"


def script() -> str:
    """All blocks marked ``sh``, each announced on standard output so that a failure says where it was."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return "\n".join(f"echo '### block {number}'\n{block}" for number, block in enumerate(blocks, 1))


@pytest.fixture
def no_first_vm(admin: Rest) -> Iterator[None]:
    """The page's namespace is not there before the test, nor after it."""

    def away() -> None:
        admin.delete(NAMESPACE)
        patience.eventually(
            "namespace first-vm is gone", lambda: admin.get(NAMESPACE), lambda seen: seen.code == 404,
            within_s=patience.promised(120),
        )

    away()
    yield
    away()


@pytest.mark.demand(vcpus=1, memory_mib=400, boots=1)
@pytest.mark.case("DOC-001")
def test_the_first_vm_page_works(cluster: Cluster, admin: Rest, no_first_vm: None) -> None:
    """
    Preconditions: a cluster that is up; no namespace first-vm.
    Steps: run every command of docs/first-vm.md in its order.
    Expected: each succeeds; the guest answered on the console; events tell the story; nothing is left.
    """
    done = commands.shell(cluster, script(), deadline_s=360, env={"VIRT_CLUSTER_NAME": cluster.name})
    said = done.stdout.replace("\r", "")
    assert done.code == 0, f"exit {done.code} in {said.split('###')[-1]}{done.stderr}"
    assert re.search(r"^Linux \S+ ", said, re.MULTILINE), f"the guest did not answer: {said}"
    assert re.search(r"^\d+\.\d\d \d+\.\d\d$", said, re.MULTILINE), f"the guest told no uptime: {said}"
    for reason in ("Created", "Started"):
        assert reason in said.split("### block")[-2], f"describe shows no event {reason}: {said}"
    assert admin.get(NAMESPACE).code == 404
