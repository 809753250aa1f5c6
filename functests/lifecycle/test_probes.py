"""Probes of the guest over its network: what they make of the VMI's readiness, and of its life."""

import math
import time

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.guest import boot_id
from functests.libs.guestnet import addressed
from functests.libs.kube import Space, condition, is_final
from functests.libs.refusal import misses
from functests.libs.rest import VMI, subresource_path
from functests.libs.stalls import STALLS

PERIOD_S = 2
_LISTEN = "(setsid witness tcp-echo 1500 > /tmp/echo.log 2>&1 &)"
# Answers 200 while /tmp/well is there, else 500.
_HTTP = (
    "mkdir -p /tmp/www/cgi-bin; "
    "printf '#!/bin/sh\\nif [ -e /tmp/well ]; then code=200; else code=500; fi\\n"
    'printf "Status: %%s\\\\r\\\\n\\\\r\\\\n" $code\\n\' > /tmp/www/cgi-bin/health; '
    "chmod +x /tmp/www/cgi-bin/health; httpd -p 8080 -h /tmp/www"
)


def _endpoints(space: Space) -> list[bool]:
    """Whether each endpoint of the Service is ready."""
    items = space.rest.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices?labelSelector=kubernetes.io/service-name%3Dfront"
    ).ok()["items"]
    return [bool(entry["conditions"].get("ready")) for item in items for entry in item["endpoints"] or []]


@pytest.mark.case("LIF-050")
@pytest.mark.parametrize("kind", ["tcpSocket", "httpGet"])
def test_readiness_follows_what_the_guest_answers(space: Space, cluster: Cluster, kind: str) -> None:
    """
    Preconditions: a VM behind a Service, with a readinessProbe of a port on which nothing listens, or of a page that
        answers 500.
    Steps: listen, or answer 200; end that.
    Expected: VMI and VM are Ready False with ContainersNotReady and the endpoint is not ready; then True and ready;
        then as before.
    """
    port = {"tcpSocket": 1500, "httpGet": 8080}[kind]
    action = {"port": port} if kind == "tcpSocket" else {"port": port, "path": "/cgi-bin/health"}
    probe = {kind: action, "periodSeconds": PERIOD_S, "failureThreshold": 1, "timeoutSeconds": 2}
    manifest = build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"metadata": {"labels": {"app": "vm"}}, "spec": {"readinessProbe": probe}}
    )
    front = {"metadata": {"name": "front"}, "spec": {"selector": {"app": "vm"}, "ports": [{"port": 80}]}}
    space.rest.post(f"/api/v1/namespaces/{space.name}/services", front).ok()
    _, shell = space.boot(build.vm_of(manifest))
    addressed(shell)
    if kind == "httpGet":
        shell.succeed(_HTTP)

    def ready(status: str) -> None:
        vmi = space.wait_condition("vm", "Ready", status, within_s=patience.promised(15 + 4 * PERIOD_S))
        vm = space.wait_vm("vm", lambda vm: condition(vm, "Ready").get("status") == status, f"Ready {status}")
        reasons = {condition(vmi, "Ready").get("reason"), condition(vm, "Ready").get("reason")}
        assert status == "True" or reasons == {"ContainersNotReady"}, reasons
        patience.eventually(
            f"the endpoint's readiness is {status}", lambda: _endpoints(space), lambda seen: seen == [status == "True"],
            within_s=patience.promised(10),
        )  # fmt: skip

    on, off = {
        "tcpSocket": (_LISTEN, "killall witness"), "httpGet": ("touch /tmp/well", "rm /tmp/well"),
    }[kind]  # fmt: skip
    ready("False")
    shell.succeed(on)
    ready("True")
    shell.succeed(off)
    ready("False")


@pytest.mark.demand(boots=2, seconds=90)
@pytest.mark.case("LIF-034")
@pytest.mark.case("LIF-051")
def test_a_guest_that_stops_answering_is_replaced(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM whose livenessProbe is a TCP port, every 3 s, three failures, begun after the
        guest listens.
    Steps: pause its VMI; watch it for 30 s; let the guest listen no more.
    Expected: 403, for its probe would kill a paused guest; the same VMI for 30 s; it ends 5 s after the third failure
        may be noticed at the earliest, and not later than the time that a shutdown takes; another VMI comes.
    """
    delay = math.ceil(3 * patience.boot_s())
    probe = {"tcpSocket": {"port": 1500}, "periodSeconds": 3, "failureThreshold": 3, "initialDelaySeconds": delay}
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"livenessProbe": probe}})
    vmi, shell = space.boot(build.vm_of(manifest))
    uid = vmi["metadata"]["uid"]
    addressed(shell)
    shell.succeed(_LISTEN)
    refused = space.act_on_vmi("vm", "pause")
    assert refused.code == 403, refused.text
    assert condition(space.vmi("vm"), "Paused") == {}
    patience.eventually(
        "the probe has begun", lambda: int(shell.succeed("grep -c peer /tmp/echo.log || true")), bool,
        within_s=patience.promised(delay + 30),
    )  # fmt: skip
    patience.quiet(
        "the VMI was touched",
        lambda: (space.vmi("vm")["metadata"]["uid"], space.vmi("vm")["status"]["phase"]),
        lambda seen: seen != (uid, "Running"),
        for_s=30,
    )
    STALLS.start()
    began = time.monotonic()
    shell.succeed("killall witness")
    patience.eventually(
        "the VMI ended", lambda: space.get_vmi("vm"),
        lambda seen: seen is None or seen["metadata"]["uid"] != uid or is_final(seen), within_s=patience.promised(30),
    )  # fmt: skip
    took = time.monotonic() - began
    # Two periods pass between three failures; after the third the launcher has to be told, and the guest shuts down.
    shutdown_s = max(6.0, patience.boot_s())
    assert 5 <= took <= 9 + 4 + shutdown_s + STALLS.since(began), f"it ended {took:.1f} s after the port was closed"
    space.wait_running("vm", not_uid=uid, within_s=patience.promised(60))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("LIF-056")
def test_faulty_probes_and_start_strategies_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with a good readinessProbe (the control).
    Steps: create it with one fault at a time.
    Expected: 422 at the fault's own field.
    """
    tcp = {"tcpSocket": {"port": 1500}}
    control = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"readinessProbe": tcp}})
    no_network = {"networks": None, "domain": {"devices": {"interfaces": None, "autoattachPodInterface": False}}}
    faults = (
        ("two kinds", "spec.readinessProbe", {"spec": {"readinessProbe": {"exec": {"command": ["true"]}}}}),
        ("no kind", "spec.readinessProbe", {"spec": {"readinessProbe": {"tcpSocket": None, "periodSeconds": 5}}}),
        (
            "no pod network", "spec.readinessProbe.httpGet",
            {"spec": {"readinessProbe": {"tcpSocket": None, "httpGet": {"port": 80}}, **no_network}},
        ),
        ("paused and alive", "spec.startStrategy", {"spec": {"startStrategy": "Paused", "livenessProbe": tcp}}),
        ("unknown strategy", "spec.startStrategy", {"spec": {"startStrategy": "Later"}}),
    )
    wrong = misses(space, control, faults)
    assert not wrong, "\n".join(wrong)
    assert space.get_vmi("vm") is None


def _probed(cluster: Cluster, name: str, kind: str, probe: object) -> build.Manifest:
    return build.merged(build.kernel_boot_vmi(cluster, name), {"spec": {kind: probe}})


@pytest.mark.demand(vcpus=2, memory_mib=900, boots=2, seconds=80)
@pytest.mark.case("LIF-052")
def test_a_command_in_the_guest_says_whether_it_is_ready(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI with a readinessProbe that looks for a file in the guest, and one whose probe never
        ends; the agent runs in both.
    Steps: make the file and remove it; ask the second one's agent.
    Expected: Ready follows the file; the second is Ready False for four periods, and guestosinfo answers within 5 s.
    """
    common = {"periodSeconds": PERIOD_S, "failureThreshold": 1, "timeoutSeconds": 3}
    look = {"exec": {"command": ["test", "-f", "/tmp/ready"]}, **common}
    hang = {"exec": {"command": ["sleep", "1000"]}, **common}
    _, shell = space.boot(_probed(cluster, "vm", "readinessProbe", look))
    space.boot(_probed(cluster, "hung", "readinessProbe", hang))
    for name in ("vm", "hung"):
        space.wait_condition(name, "AgentConnected", "True")
        space.wait_condition(name, "Ready", "False")
    shell.succeed("touch /tmp/ready")
    space.wait_condition("vm", "Ready", "True", within_s=patience.promised(15 + 4 * PERIOD_S))
    shell.succeed("rm /tmp/ready")
    gone = space.wait_condition("vm", "Ready", "False", within_s=patience.promised(15 + 4 * PERIOD_S))
    assert condition(gone, "Ready")["reason"] == "ContainersNotReady", condition(gone, "Ready")

    took: list[float] = []

    def asked() -> bool:
        """Whether it is ready; asks the agent on the way."""
        began = time.monotonic()
        space.rest.get(subresource_path(VMI, space.name, "hung", "guestosinfo")).ok()
        took.append(time.monotonic() - began)
        return condition(space.vmi("hung"), "Ready").get("status") == "True"

    patience.quiet("the VMI with a hanging probe became ready", asked, bool, for_s=4 * (PERIOD_S + 4))
    assert max(took) <= 5, took


@pytest.mark.demand(seconds=60)
@pytest.mark.case("LIF-053")
def test_an_agent_that_answers_is_ready(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose readinessProbe pings the guest's agent.
    Steps: read its pod; stop the agent and start it again.
    Expected: the pod's probe runs virt-probe in compute, 10 s later and 1 s longer than asked; Ready False with a
        Warning GuestAgentPingFailed, then Ready True.
    """
    probe = {
        "guestAgentPing": {}, "initialDelaySeconds": 2, "timeoutSeconds": 3, "periodSeconds": PERIOD_S,
        "failureThreshold": 1,
    }  # fmt: skip
    vmi, shell = space.boot(_probed(cluster, "vm", "readinessProbe", probe))
    (compute,) = [entry for entry in space.pod(vmi)["spec"]["containers"] if entry["name"] == "compute"]
    made = compute["readinessProbe"]
    assert made["exec"]["command"][0].endswith("/virt-probe"), made
    assert (made["initialDelaySeconds"], made["timeoutSeconds"]) == (12, 4), made
    space.wait_condition("vm", "Ready", "True", within_s=patience.promised(30))
    shell.succeed("agent stop")
    space.wait_condition("vm", "Ready", "False", within_s=patience.promised(15 + 4 * PERIOD_S))
    patience.eventually(
        "an event says why",
        lambda: [(event["type"], event["reason"]) for event in space.events("vm", "VirtualMachineInstance")],
        lambda seen: ("Warning", "GuestAgentPingFailed") in seen, within_s=patience.promised(10),
    )  # fmt: skip
    shell.succeed("agent start")
    ready = space.wait_condition("vm", "Ready", "True", within_s=patience.promised(15 + 4 * PERIOD_S))
    assert ready["metadata"]["uid"] == vmi["metadata"]["uid"]


@pytest.mark.demand(seconds=90)
@pytest.mark.case("LIF-054")
def test_an_agent_that_is_silent_ends_its_guest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose livenessProbe pings the guest's agent, every 3 s, two failures.
    Steps: pause it for 20 s and unpause it; stop the agent.
    Expected: it is the same boot after the pause; it ends within 30 s of the agent's end.
    """
    delay = math.ceil(3 * patience.boot_s())
    probe = {
        "guestAgentPing": {}, "periodSeconds": 3, "failureThreshold": 2, "timeoutSeconds": 3,
        "initialDelaySeconds": delay,
    }  # fmt: skip
    vmi, shell = space.boot(_probed(cluster, "vm", "livenessProbe", probe))
    boot = boot_id(shell)
    space.wait_condition("vm", "AgentConnected", "True")
    started = time.monotonic()
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    # Until the probe has begun, it proves nothing.
    patience.quiet(
        "the paused VMI was touched",
        lambda: (space.vmi("vm")["metadata"]["uid"], space.vmi("vm")["status"]["phase"]),
        lambda seen: seen != (vmi["metadata"]["uid"], "Running"),
        for_s=max(0.0, delay + 10 - (time.monotonic() - started)) + 20,
    )
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    assert boot_id(shell) == boot
    shell.succeed("agent stop")
    ended = space.wait_vmi("vm", is_final, "ended", within_s=patience.promised(30), may_end=True)
    assert ended["metadata"]["uid"] == vmi["metadata"]["uid"]
