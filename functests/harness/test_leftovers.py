"""What a run that was killed has left, on a real cluster: it goes when the run is gone, and not before."""

import secrets

import pytest

from functests.libs import namespaces, patience, pods, runs
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest
from functests.libs.volumes import NodeVolumes
from functests.scheduling import leftovers
from functests.scheduling.leftovers import NAMESPACES, VOLUMES


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0, seconds=30)
@pytest.mark.case("HAR-004")
def test_what_a_killed_run_left_is_removed(
    cluster: Cluster, admin: Rest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Preconditions: another run that has a namespace with a pod, and a small volume mounted on a node.
    Steps: look for leftovers; end the run as a kill does, by taking its lock; look again.
    Expected: while it lives nothing of it is touched; then namespace, volume, mount and folder are gone, and named.
    """
    known = runs.of_cluster(cluster.name)
    monkeypatch.setattr(runs, "_held", [])
    monkeypatch.setenv(runs.VARIABLE, "")           # what this test is of comes back behind it
    name = known.begin()
    space = Space(admin, f"ft-killed-{secrets.token_hex(3)}")
    namespaces.create(admin, space.name)
    volume = NodeVolumes(admin, nodes).make(space, cluster.workers[0], "small", room="16m")
    pods.start(space, pods.python_pod(cluster, "busy", "import time; time.sleep(600)"))
    paths = {f"{word} {name}": f"{kind}/{name}" for word, kind, name in
             (("namespace", NAMESPACES, space.name), ("volume", VOLUMES, volume.name))}

    early = leftovers.of_cluster()
    assert not set(paths) & set(early.removed), early.removed
    assert [admin.get(path).code for path in paths.values()] == [200, 200]
    assert volume.run("mountpoint -q . && echo mounted") == "mounted"

    runs._held.pop().close()
    swept = leftovers.of_cluster()
    assert set(paths) <= set(swept.removed), (swept.removed, swept.stays)
    patience.eventually(        # Kubernetes keeps a volume until it has seen that its claim is gone
        "both are gone", lambda: [admin.get(path).code for path in paths.values()], lambda codes: codes == [404, 404],
        within_s=patience.promised(30),
    )  # fmt: skip
    assert volume.node.run(f"ls -d {volume.path} 2> /dev/null || echo gone").strip() == "gone"
    assert name not in known.names()
