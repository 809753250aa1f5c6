"""The served virt-api: who gets in, what discovery says, and how streams and errors pass through."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.authority import Authority
from tests.sockets import probed_within_s
from tests.virt.apiserver.stand import Stand, client_tls, handler_pod, running_vmi, stand
from virt.api import core, kinds, v1
from virt.api.v1 import Condition
from virt.apiserver import discovery, expansion
from virt.apiserver.identity import FrontProxy

ROOT = "/apis/subresources.kubevirt.io/v1"
VMI = f"{ROOT}/namespaces/ns/virtualmachineinstances/vm1"
VM = f"{ROOT}/namespaces/ns/virtualmachines/vm1"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Stand]:
    machine = v1.VirtualMachine(
        metadata=core.ObjectMeta(name="vm1", namespace="ns"), spec=v1.VirtualMachineSpec(run_strategy="Halted"))
    async with stand(tmp_path, handler_pod(), running_vmi(), (kinds.VM, machine)) as served:
        yield served


# --- who gets in ---


async def test_discovery_needs_no_certificate_and_objects_do(api: Stand) -> None:
    async with aiohttp.ClientSession() as session:
        for path, code in (
            ("/", 200), ("/apis", 200), (ROOT, 200), (f"{ROOT}/version", 200), (f"{ROOT}/healthz", 200),
            (f"{ROOT}/guestfs", 200),
            ("/openapi/v2", 200), ("/openapi/v3", 200), ("/healthz", 200), (f"{VMI}/console", 401),
            (f"{ROOT}/namespaces/ns/virtualmachines/unknown/start", 401),
        ):
            async with session.get(api.url + path, ssl=client_tls(), headers=api.headers()) as response:
                assert response.status == code, path
    assert api.kube.reviews == []


@pytest.mark.parametrize("who", ["stranger", "other"])
async def test_a_certificate_that_is_not_the_front_proxys_ends_the_handshake(api: Stand, who: str) -> None:
    """Of another authority, or of the right one with another name."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(api.url + "/apis", ssl=client_tls(api.folder / who))


async def test_a_new_front_proxy_authority_replaces_the_old_one(api: Stand) -> None:
    new = Authority("front-proxy-ca-2")
    new.issue(api.folder / "new", "front-proxy-client")
    api.door.trust(FrontProxy(ca=new.pem))
    async with aiohttp.ClientSession() as session:
        tls = client_tls(api.folder / "new")
        async with session.get(f"{api.url}{VMI}/guestosinfo", ssl=tls, headers=api.headers()) as response:
            assert response.status == 409          # authenticated: it is the missing agent that stands in the way
        with pytest.raises(aiohttp.ClientError):
            await session.get(api.url + "/apis", ssl=client_tls(api.folder / "proxy"))


async def test_the_front_proxy_without_a_user_is_nobody(api: Stand) -> None:
    assert (await api.send("GET", f"{VMI}/console", user=""))[0] == 401


async def test_who_may_not_is_told_what_he_may_not(api: Stand) -> None:
    code, status = await api.send("PUT", f"{VM}/start", user="mallory")
    assert code == 403
    assert status["reason"] == "Forbidden"
    assert 'User "mallory" cannot update resource "virtualmachines/start"' in status["message"]
    assert api.kube.writes == []
    asked = api.kube.reviews[0].resource_attributes
    assert asked is not None
    assert (asked.verb, asked.resource, asked.subresource, asked.name) == ("update", "virtualmachines", "start", "vm1")
    assert api.kube.reviews[0].groups == ("system:authenticated",)


# --- discovery ---


async def test_both_versions_list_each_resource_once(api: Stand) -> None:
    for version in ("v1", "v1alpha3"):
        code, document = await api.send("GET", f"/apis/subresources.kubevirt.io/{version}")
        listed = [resource["name"] for resource in document["resources"]]
        assert code == 200
        assert document["groupVersion"] == f"subresources.kubevirt.io/{version}"
        assert len(listed) == len(set(listed))
        assert {"expand-vm-spec", "virtualmachines/start", "virtualmachineinstances/console"} <= set(listed)
        assert all(resource["namespaced"] for resource in document["resources"])


async def test_kube_apiserver_gets_the_aggregated_form_when_it_asks_for_it(api: Stand) -> None:
    headers = {"Accept": f"{discovery.AGGREGATED_V2},application/json"}
    async with api.session.get(api.url + "/apis", headers=headers) as response:
        assert response.headers["Content-Type"] == discovery.AGGREGATED_V2
        assert (await response.json(content_type=None))["kind"] == "APIGroupDiscoveryList"
    assert (await api.send("GET", "/apis"))[1]["kind"] == "APIGroupList"


async def test_openapi_has_the_paths_of_both_versions(api: Stand) -> None:
    _, document = await api.send("GET", "/openapi/v2")
    assert f"{ROOT}/namespaces/{{namespace}}/virtualmachines/{{name}}/start" in document["paths"]
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))
    _, index = await api.send("GET", "/openapi/v3")
    for place in index["paths"].values():
        assert (await api.send("GET", place["serverRelativeURL"]))[0] == 200


async def test_a_client_made_from_the_documents_can_send_options_and_name_a_port(api: Stand) -> None:
    _, second = await api.send("GET", "/openapi/v2")
    _, third = await api.send("GET", f"/openapi/v3{ROOT}")
    start = f"{ROOT}/namespaces/{{namespace}}/virtualmachines/{{name}}/start"
    forward = f"{ROOT}/namespaces/{{namespace}}/virtualmachineinstances/{{name}}/portforward"
    for document in (second, third):
        paths = document["paths"]
        assert forward not in paths
        asked = [parameter["name"] for parameter in paths[f"{forward}/{{port}}/{{protocol}}"]["get"]["parameters"]]
        assert asked == ["namespace", "name", "port", "protocol"]
        assert f"{forward}/{{port}}" in paths
    bodies = [each for each in second["paths"][start]["put"]["parameters"] if each["in"] == "body"]
    assert bodies == [{"name": "body", "in": "body", "schema": {"type": "object"}}]
    assert third["paths"][start]["put"]["requestBody"] == {"content": {"*/*": {"schema": {"type": "object"}}}}
    assert "requestBody" not in third["paths"][f"{forward}/{{port}}"]["get"]


# --- actions ---


async def test_actions_reach_the_handler_of_the_node(api: Stand) -> None:
    assert await api.send("PUT", f"{VMI}/pause") == (200, "")
    assert await api.send("PUT", f"{VMI}/reset") == (200, "")
    assert await api.send("PUT", f"{VMI}/pause", json={"dryRun": ["All"]}) == (200, "")
    place = "/v1/namespaces/ns/virtualmachineinstances/vm1"
    assert api.handler.calls == [f"PUT {place}/pause", f"PUT {place}/reset"]


async def test_a_guest_with_an_agent_answers_questions(api: Stand) -> None:
    api.kube.put(*running_vmi(conditions=(Condition(type="AgentConnected", status="True"),)))
    assert await api.send("GET", f"{VMI}/userlist") == (200, {"asked": "userlist"})


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("PUT", f"{VM}/start", 409, "VM is already running"),
        ("PUT", VM.replace("vm1", "x") + "/start", 404, 'virtualmachine.kubevirt.io "x" not found'),
        ("GET", VMI.replace("vm1", "x") + "/console", 404, 'virtualmachineinstance.kubevirt.io "x" not found'),
        ("POST", f"{VM}/start", 405, "Method Not Allowed"),
        ("PUT", f"{VM}/nosuch", 404, ""),
        ("PUT", f"{VM}/memorydump", 501, "not implemented"),
        ("PUT", f"{VM}/addvolume", 400, "requires name"),
        ("PUT", f"{VMI}/removevolume", 400, "requires name"),
        ("GET", f"{VMI}/console", 400, "WebSocket"),
        ("GET", f"{VMI}/guestosinfo", 409, "guest agent"),
        ("PUT", f"{VMI}/unpause", 409, "VMI is not paused"),
        ("PUT", VM.replace("vm1", "..%2Fx") + "/start", 404, ""),
    ],
)
async def test_refusals_are_status_objects(api: Stand, method: str, path: str, code: int, message: str) -> None:
    answered, status = await api.send(method, path)
    assert (answered, status["kind"], status["code"]) == (code, "Status", code)
    assert message in status["message"]
    assert api.kube.writes == []


SENT = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "new", "labels": {}},
        "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}, "cpu": {"cores": 0}}}}}}


async def test_a_vm_that_names_no_instance_type_is_its_own_expansion(api: Stand) -> None:
    code, found = await api.send("GET", f"{VM}/expand-spec")
    stored = api.kube.peek(expansion.STORED, "vm1", "ns")
    assert (code, found) == (200, stored)
    assert found["spec"] == {"runStrategy": "Halted"}
    assert (await api.send("GET", VM.replace("vm1", "x") + "/expand-spec"))[0] == 404
    path = f"{ROOT}/namespaces/ns/expand-vm-spec"
    assert await api.send("PUT", path, json=SENT) == (200, SENT)
    here = {**SENT, "metadata": {"name": "new", "namespace": "ns"}}
    assert await api.send("PUT", path, json=here) == (200, here)
    assert api.kube.writes == []


@pytest.mark.parametrize(("sent", "named"), [
    (None, "empty request body"), ([], "no object"), ({**SENT, "kind": "Pod"}, "Pod"),
    ({**SENT, "apiVersion": "v1"}, "apiVersion v1"),
    ({**SENT, "metadata": {"namespace": "other"}}, "metadata.namespace"),
    ({**SENT, "spec": {"template": {"spec": {"domain": 1}}}}, "spec.template.spec.domain"),
    ({**SENT, "spec": {"instancetype": {"name": "small"}}}, "spec.instancetype"),
])
async def test_what_is_no_vm_of_that_namespace_has_no_expansion(api: Stand, sent: object, named: str) -> None:
    options: dict[str, Any] = {} if sent is None else {"json": sent}
    code, status = await api.send("PUT", f"{ROOT}/namespaces/ns/expand-vm-spec", **options)
    assert (code, status["kind"], status["reason"]) == (400, "Status", "BadRequest")
    assert named in status["message"]


def _node(name: str, *taints: str) -> tuple[Any, core.Node]:
    return kinds.NODE, core.Node(
        metadata=core.ObjectMeta(name=name),
        spec=core.NodeSpec(taints=tuple(core.Taint(key=key, effect="NoSchedule") for key in taints)))


async def test_a_vmi_need_not_leave_its_node_any_more(api: Stand) -> None:
    for path in (VM, VMI):
        api.kube.put(*running_vmi(evacuation_node_name="node1"))
        api.kube.put(*_node("node1"))
        path = f"{path}/evacuate/cancel"
        code, status = await api.send("PUT", path, json={"evacuationNodeName": "node2"})
        assert (code, "'node2' is not the node" in status["message"]) == (400, True)
        assert await api.send("PUT", path, json={"dryRun": ["All"]}) == (200, "")
        vmi = api.kube.peek(kinds.VMI, "vm1", "ns")
        assert vmi is not None
        assert vmi.status.evacuation_node_name == "node1"
        assert await api.send("PUT", path, json={"evacuationNodeName": "node1"}) == (200, "")
        vmi = api.kube.peek(kinds.VMI, "vm1", "ns")
        assert vmi is not None
        assert (vmi.status.evacuation_node_name, vmi.status.phase) == ("", "Running")
        assert await api.send("PUT", path) == (200, ""), "nothing to take away"


async def test_a_node_that_is_still_drained_is_left_all_the_same(api: Stand) -> None:
    api.kube.put(*running_vmi(evacuation_node_name="node1"))
    api.kube.put(*_node("node1", "kubevirt.io/drain"))
    code, status = await api.send("PUT", f"{VMI}/evacuate/cancel")
    assert (code, "kubevirt.io/drain" in status["message"]) == (400, True)


async def test_bodies_are_json_or_yaml_of_any_content_type(api: Stand) -> None:
    for body, code in ((b"", 409), (b"{}", 409), (b"paused: true", 409), (b'{"paused":', 400), (b"[1]", 400)):
        headers = {"Content-Type": "text/plain"}
        assert (await api.send("PUT", f"{VM}/start", data=body, headers=headers))[0] == code, body
    assert (await api.send("PUT", f"{VM}/start", data=b" " * (2 << 20)))[0] == 413


# --- streams ---


async def test_the_console_is_relayed_both_ways_and_ends_as_the_guest_ends(api: Stand) -> None:
    async with api.connect(f"{VMI}/console", protocols=("fantasy", "plain.kubevirt.io")) as socket:
        assert socket.protocol == "plain.kubevirt.io"
        await socket.send_str("ignored")
        await socket.send_bytes(b"hello")
        assert await socket.receive_bytes() == b"hello"
        await socket.send_bytes(b"end")
        assert await socket.receive_bytes() == b"bye"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1000


async def test_a_megabyte_comes_back_whole(api: Stand) -> None:
    data = bytes(range(256)) * 4096
    async with api.connect(f"{VMI}/console") as socket:
        assert socket.protocol is None
        for at in range(0, len(data), 8192):
            await socket.send_bytes(data[at:at + 8192])
        back = b""
        while len(back) < len(data):
            back += await socket.receive_bytes()
    assert back == data


async def test_a_handler_that_vanishes_is_an_error(api: Stand) -> None:
    async with api.connect(f"{VMI}/console") as socket:
        await socket.send_bytes(b"crash")
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1011


async def test_a_node_that_is_gone_without_a_word_ends_the_stream(api: Stand) -> None:
    async with api.connect(f"{VMI}/console") as socket:
        await socket.send_bytes(b"hello")
        assert await socket.receive_bytes() == b"hello"
        assert [after for after in probed_within_s() if after <= 10], "its connection is not watched"


async def test_the_handlers_reason_is_given_before_the_upgrade(api: Stand) -> None:
    api.handler.is_busy = True
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    code, status = await api.send("GET", f"{VMI}/vnc?preserveSession=true", headers=upgrade)
    assert (code, status["message"]) == (503, "session is busy")
    assert api.handler.calls == ["GET /v1/namespaces/ns/virtualmachineinstances/vm1/vnc?preserveSession=true"]


async def test_a_node_without_a_handler_is_named(tmp_path: Path) -> None:
    async with stand(tmp_path, running_vmi()) as api:
        code, status = await api.send("PUT", f"{VMI}/pause")
        assert (code, status["message"]) == (503, "there is no handler on node 'node1'")


async def test_a_handler_that_is_being_replaced_is_waited_for(tmp_path: Path) -> None:
    async with stand(tmp_path, running_vmi(), away_s=60) as api:
        asking = asyncio.create_task(api.send("PUT", f"{VMI}/pause"))
        await asyncio.sleep(0.2)
        assert not asking.done()
        api.kube.put(*handler_pod())
        assert (await asking)[0] == 200
        assert api.handler.calls == ["PUT /v1/namespaces/ns/virtualmachineinstances/vm1/pause"]


async def test_a_peer_that_is_no_handler_is_not_asked(tmp_path: Path) -> None:
    async with stand(tmp_path, running_vmi(), handler_pod(), handler_name="virt-controller") as api:
        code, status = await api.send("PUT", f"{VMI}/pause")
        assert code == 503
        assert "cannot be reached" in status["message"]
        assert api.handler.calls == []
