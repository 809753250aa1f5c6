"""A guest whose agent lies: the tenant has root in it, and what it says of addresses leads nobody elsewhere."""

import base64
import gzip
import json
import secrets

import pytest

from functests.libs import build, guestnet, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.console import open_socket
from functests.libs.guestnet import addressed
from functests.libs.kube import Space
from functests.libs.rest import VMI, subresource_path

# An agent in shell: answers what libvirt and the launcher ask; the text of interfaces is in /tmp/interfaces.
_AGENT = r"""
command='{"name": "guest-network-get-interfaces", "enabled": true, "success-response": true}'
exec 3<>"$1"
while :; do
  IFS= read -r line <&3 || { usleep 50000; continue; }    # as long as the host has not opened its end there is nothing
  id=$(echo "$line" | sed -n 's/.*"id": *\([0-9]*\).*/\1/p')
  case $line in
  *guest-sync-delimited*) printf '\377{"return": %s}\n' "$id" >&3 ;;
  *guest-sync*) printf '{"return": %s}\n' "$id" >&3 ;;
  *guest-network-get-interfaces*) printf '{"return": %s}\n' "$(cat /tmp/interfaces)" >&3 ;;
  *guest-info*) printf '{"return": {"version": "9.9", "supported_commands": [%s]}}\n' "$command" >&3 ;;
  *) printf '{"error": {"class": "CommandNotFound", "desc": "no"}}\n' >&3 ;;
  esac
done
"""
FALSE = ("10.96.0.1", "127.0.0.1", "169.254.169.254")


@pytest.mark.needs("agent")
@pytest.mark.parametrize("binding", ["masquerade", "bridge"])
@pytest.mark.case("SEC-025")
def test_an_invented_address_leads_nobody_elsewhere(space: Space, cluster: Cluster, binding: str) -> None:
    """
    Preconditions: a victim's pod that serves on port 8080; a running VMI with an echo server on 8080 in its guest,
        whose agent was replaced by one that says what it is told.
    Steps: the agent says that eth0 has the API server's, a loopback, a metadata and the victim's address; open
        portforward to port 8080.
    Expected: the status leads with the pod's own address; the tenant's guest answers; the victim saw nobody.
    """
    victim = pods.start(space, pods.python_pod(cluster, "victim", pods.ECHO_SERVER, "8080"))
    interface = {"name": "default", binding: {}}
    vmi, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"spec": {"domain": {"devices": {"interfaces": [interface]}}}}))
    addressed(shell)
    guestnet.serve(shell, 8080)
    own = space.pod(vmi)["status"]["podIP"]
    mac = shell.succeed("cat /sys/class/net/eth0/address")
    addresses = (victim["status"]["podIP"], *FALSE)
    told = [{
        "name": "eth0", "hardware-address": mac,
        "ip-addresses": [{"ip-address": one, "ip-address-type": "ipv4", "prefix": 24} for one in addresses],
    }]  # fmt: skip
    for name, text in (("interfaces", json.dumps(told)), ("agent", _AGENT)):
        packed = base64.b64encode(gzip.compress(text.encode())).decode()
        shell.succeed(f"echo {packed} | base64 -d | gunzip > /tmp/{name}")
    shell.succeed("agent stop")
    space.wait_condition("vm", "AgentConnected", "")
    port = "for p in /sys/class/virtio-ports/*; do grep -q guest_agent $p/name && echo /dev/${p##*/}; done"
    shell.succeed(f"(setsid sh /tmp/agent $({port}) > /tmp/agent.log 2>&1 &)")
    space.wait_condition("vm", "AgentConnected", "True")
    seen = space.wait_vmi(
        "vm", lambda seen: "guest-agent" in seen["status"]["interfaces"][0].get("infoSource", ""), "hears the agent",
        within_s=patience.promised(30))
    assert seen["status"]["interfaces"][0]["ipAddress"] == own, seen["status"]["interfaces"]

    nonce = secrets.token_hex(8)
    socket = open_socket(space.rest, subresource_path(VMI, space.name, "vm", "portforward/8080"))
    try:
        socket.send_binary(f"{nonce}\n".encode())
        answer = socket.recv_data()[1].decode()
    finally:
        socket.close()
    assert answer.strip() == nonce
    assert guestnet.peers(shell, 8080) != []
    assert "peer" not in pods.log(space, "victim")
