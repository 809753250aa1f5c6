"""Probes of the guest over its network: what they make of the VMI's readiness, and of its life."""

import math
import time

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space, condition, is_final
from functests.libs.refusal import misses

PERIOD_S = 2
_LISTEN = "(setsid witness tcp-echo 1500 > /tmp/echo.log 2>&1 &)"
# Answers 200 while /tmp/well is there, else 500.
_HTTP = (
    "mkdir -p /tmp/www/cgi-bin; "
    "printf '#!/bin/sh\\nif [ -e /tmp/well ]; then code=200; else code=500; fi\\n"
    'printf "Status: %%s\\\\r\\\\n\\\\r\\\\n" $code\\n\' > /tmp/www/cgi-bin/health; '
    "chmod +x /tmp/www/cgi-bin/health; httpd -p 8080 -h /tmp/www"
)


def _addressed(shell: Console) -> None:
    patience.eventually(
        "the guest has a route", lambda: shell.run("ip -4 route show default dev eth0").out, lambda text: "via" in text,
        within_s=patience.boots(1),
    )  # fmt: skip


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
    _addressed(shell)
    if kind == "httpGet":
        shell.succeed(_HTTP)

    def ready(status: str) -> None:
        vmi = space.wait_condition("vm", "Ready", status, within_s=15 + 4 * PERIOD_S)
        vm = space.wait_vm("vm", lambda vm: condition(vm, "Ready").get("status") == status, f"Ready {status}")
        reasons = {condition(vmi, "Ready").get("reason"), condition(vm, "Ready").get("reason")}
        assert status == "True" or reasons == {"ContainersNotReady"}, reasons
        patience.eventually(
            f"the endpoint's readiness is {status}", lambda: _endpoints(space), lambda seen: seen == [status == "True"],
            within_s=10,
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
    _addressed(shell)
    shell.succeed(_LISTEN)
    refused = space.act_on_vmi("vm", "pause")
    assert refused.code == 403, refused.text
    assert condition(space.vmi("vm"), "Paused") == {}
    patience.eventually(
        "the probe has begun", lambda: int(shell.succeed("grep -c peer /tmp/echo.log || true")), bool,
        within_s=delay + 30,
    )  # fmt: skip
    patience.quiet(
        "the VMI was touched",
        lambda: (space.vmi("vm")["metadata"]["uid"], space.vmi("vm")["status"]["phase"]),
        lambda seen: seen != (uid, "Running"),
        for_s=30,
    )
    began = time.monotonic()
    shell.succeed("killall witness")
    patience.eventually(
        "the VMI ended", lambda: space.get_vmi("vm"),
        lambda seen: seen is None or seen["metadata"]["uid"] != uid or is_final(seen), within_s=30,
    )  # fmt: skip
    took = time.monotonic() - began
    # Two periods pass between three failures; after the third the launcher has to be told, and the guest shuts down.
    assert 5 <= took <= 9 + 4 + 6, f"it ended {took:.1f} s after the port was closed"
    space.wait_running("vm", not_uid=uid, within_s=60 + patience.boots(1))
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
