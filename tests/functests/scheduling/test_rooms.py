"""Room for guests on the cluster's workers."""

from typing import Any

from functests.scheduling.admission import Admission, Capacity, Job
from functests.scheduling.demand import Demand
from functests.scheduling.rooms import free_vcpus


def pod(node: str, *cpus: str, phase: str = "Running", init: str = "") -> dict[str, Any]:
    def containers(amounts: tuple[str, ...]) -> list[dict[str, Any]]:
        return [{"resources": {"requests": {"cpu": cpu} if cpu else {}}} for cpu in amounts]

    spec = {"nodeName": node, "containers": containers(cpus), "initContainers": containers((init,) if init else ())}
    return {"spec": spec, "status": {"phase": phase}}


def test_what_running_pods_ask_for_is_taken() -> None:
    nodes = [
        {"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu}}}
        for name, cpu in (("w1", "500m"), ("w2", "1"))
    ]
    pods = [
        pod("w1", "100m", "5m", "1m"), pod("w1", "10m", init="50m"), pod("w1", "100m", phase="Succeeded"),
        pod("w2", ""), pod("elsewhere", "1"), {"spec": {"containers": []}, "status": {}},
    ]
    assert free_vcpus(nodes, pods) == {"w1": (500 - 106 - 50) // 106, "w2": 1000 // 106}
    assert free_vcpus(nodes, [pod("w1", "2")])["w1"] == 0


def admitted(pinned: int, *, running: int, free: int | None) -> tuple[list[str], list[str]]:
    """Of a job that pins ``pinned`` vCPUs beside one that pins ``running``: what starts, and why it does not."""
    admission = Admission(Capacity(8, 8000))
    admission.submit([Job("runs", Demand(vcpus=1, pinned=running))])
    admission.admit(1)
    admission.submit([Job("pins", Demand(vcpus=2, pinned=pinned)), Job("other", Demand(vcpus=1))])
    started, refused = admission.admit(2, node_vcpus=free)
    return [job.key for job in started], [one.reason for one in refused]


def test_pinned_guests_wait_for_room_on_the_node_and_others_do_not() -> None:
    assert admitted(3, running=0, free=3) == (["pins", "other"], [])
    started, reasons = admitted(3, running=0, free=2)
    assert started == ["other"]
    assert reasons == ["a node: wants 3 vCPUs on one, the fullest has 2 free"]
    assert admitted(2, running=2, free=3)[0] == ["other"], "what the running one still will take is not free"
    assert admitted(3, running=0, free=None)[0] == ["pins", "other"]


def test_when_nothing_runs_there_is_nothing_to_wait_for() -> None:
    admission = Admission(Capacity(8, 8000))
    admission.submit([Job("pins", Demand(vcpus=2, pinned=9))])
    assert [job.key for job in admission.admit(1, node_vcpus=0)[0]] == ["pins"]
