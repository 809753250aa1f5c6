"""Guests that are started paused, paused many times, or asked for what their state does not allow."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, launcher, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.guest import Ticker, boot_id
from functests.libs.guestnet import addressed
from functests.libs.kube import Object, Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, Answer, subresource_path


def _is_paused(vmi: Object) -> bool:
    return condition(vmi, "Paused").get("status") == "True"


@pytest.mark.demand(seconds=60)
@pytest.mark.case("LIF-034")
@pytest.mark.case("LIF-037")
def test_pause_and_unpause_a_hundred_ways(warm_vm: WarmVm, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI whose guest ticks; a VMI that no node takes.
    Steps: pause verbs that do not fit the state; pause and unpause 20 times in a row; 10 pairs at once.
    Expected: 409 with the reason for what does not fit, and the guest ticks or rests as before; else only 200 and 409;
        at the end API, libvirt and guest agree; no tick is lost or repeated.
    """
    space, vmi, shell = warm_vm.space, warm_vm.vmi, warm_vm.shell
    boot, inside = boot_id(shell), launcher.of(space, vmi, nodes)
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "far"), "no-such-node"))
    wrong: list[str] = []

    def refused(name: str, verb: str, text: str) -> None:
        answer = space.act_on_vmi(name, verb)
        if answer.code != 409 or text not in answer.message:
            wrong.append(f"{verb} {name}: expected 409 {text!r}, got {answer.code} {answer.text[:300]}")

    ticker = Ticker(shell)
    refused("vm", "unpause", "VMI is not paused")
    refused("far", "pause", "VMI is not running")
    ticker.goes_on()
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    refused("vm", "pause", "VMI is already paused")
    refused("vm", "softreboot", "VMI is paused")
    ticker.rests(for_s=2)
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    ticker.goes_on()
    assert not wrong, "\n".join(wrong)

    codes = []
    for _ in range(20):
        for verb, status in (("pause", "True"), ("unpause", "")):
            codes.append(space.act_on_vmi("vm", verb).code)
            space.wait_condition("vm", "Paused", status)
    assert set(codes) == {200}, codes

    def call(verb: str) -> Answer:
        return space.rest.put(subresource_path(VMI, space.name, "vm", verb))

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(call, ["pause", "unpause"] * 10))
    assert {answer.code for answer in answers} <= {200, 409}, [answer.text for answer in answers]
    patience.eventually(
        "the API says what libvirt says",
        lambda: (_is_paused(space.vmi("vm")), inside.virsh("domstate").strip()),
        lambda seen: seen in ((True, "paused"), (False, "running")),
        every_s=1,
    )
    if _is_paused(space.vmi("vm")):
        ticker.rests(for_s=2)
        assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    ticker.goes_on()
    assert boot_id(ticker.stop()) == boot


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-036")
@pytest.mark.parametrize("how", ["strategy", "option"])
def test_a_guest_that_is_started_paused(space: Space, cluster: Cluster, how: str) -> None:
    """
    Preconditions: none.
    Steps: create an Always VM with startStrategy Paused in its template, or start a Halted one with paused true;
        unpause it; pause it and restart the VM.
    Expected: Running and Paused, startStrategy Paused on the VMI, a silent console for 5 s; then a shell; the VM's
        strategy is Always. The VMI of the restart is paused again with the template, and runs with the option.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm")
    if how == "strategy":
        space.create(build.vm_of(build.merged(manifest, {"spec": {"startStrategy": "Paused"}})))
    else:
        space.create(build.vm_of(manifest, "Halted"))
        assert space.act_on_vm("vm", "start", {"paused": True}).code == 202
    first = space.wait_condition("vm", "Paused", "True", within_s=patience.boots(1))
    assert first["status"]["phase"] == "Running", first["status"]
    assert first["spec"]["startStrategy"] == "Paused", first["spec"]
    assert space.wait_vm_status("vm", "Paused")["spec"]["runStrategy"] == "Always"
    console = space.console("vm")
    patience.quiet("the paused guest prints", lambda: console.transcript, bool, for_s=5)
    assert space.act_on_vmi("vm", "unpause").code == 200
    assert console.login(within_s=patience.boots(1)).succeed("echo $((6*7))") == "42"

    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    assert space.act_on_vm("vm", "restart").code == 202
    second = space.wait_running("vm", not_uid=first["metadata"]["uid"], within_s=patience.boots(2))
    if how == "strategy":
        second = space.wait_condition("vm", "Paused", "True")
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
    else:
        assert "startStrategy" not in second["spec"], second["spec"]
        assert space.shell("vm").succeed("echo $((6*7))") == "42"
        assert not _is_paused(space.vmi("vm"))


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("LIF-035")
def test_a_paused_guest_leaves_its_service(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two VMIs behind a Service, each answers with its name.
    Steps: pause one; ask the Service 50 times from a pod; unpause it; ask again.
    Expected: its endpoint is not ready and the other one gives all 50 answers; then both endpoints are ready and both
        answer.
    """
    front = {"metadata": {"name": "front"}, "spec": {"selector": {"app": "vm"}, "ports": [{"port": 8080}]}}
    space.rest.post(f"/api/v1/namespaces/{space.name}/services", front).ok()
    for name in ("one", "two"):
        labels = {"metadata": {"labels": {"app": "vm"}}}
        _, shell = space.boot(build.merged(build.kernel_boot_vmi(cluster, name), labels))
        addressed(shell)
        shell.succeed(f"mkdir -p /tmp/www && echo {name} > /tmp/www/index.html && httpd -p 8080 -h /tmp/www")

    def endpoints(ready: int) -> None:
        query = "?labelSelector=kubernetes.io/service-name%3Dfront"
        path = f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices{query}"
        patience.eventually(
            f"{ready} endpoints are ready",
            lambda: [
                bool(entry["conditions"].get("ready"))
                for item in space.rest.get(path).ok()["items"] for entry in item["endpoints"] or []
            ],
            lambda seen: sorted(seen) == sorted([True] * ready + [False] * (2 - ready)),
        )  # fmt: skip

    endpoints(2)
    assert space.act_on_vmi("one", "pause").code == 200
    endpoints(1)
    assert _answers(cluster, space, "while-paused") == {"two"}
    assert space.act_on_vmi("one", "unpause").code == 200
    endpoints(2)
    assert _answers(cluster, space, "afterwards") == {"one", "two"}


# Fifty requests, each on a connection of its own; a refused one is printed as its error.
_ASK = """
import time, urllib.request
time.sleep(3)        # kube-proxy follows the endpoints a moment later
for _ in range(50):
    try:
        print(urllib.request.urlopen("http://front:8080/index.html", timeout=10).read().decode().strip(), flush=True)
    except OSError as error:
        print("error:", error, flush=True)
"""


def _answers(cluster: Cluster, space: Space, name: str) -> set[str]:
    pods.start(space, pods.python_pod(cluster, name, _ASK))
    pods.wait_phase(space, name, ("Succeeded", "Failed"), within_s=patience.promised(90))
    lines = pods.log(space, name).split("\n")[:-1]
    assert len(lines) == 50, lines
    return set(lines)
