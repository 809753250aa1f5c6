"""What the real client makes of names, and how it calls itself, without a cluster."""

import asyncio

import pytest
from lightkube.config.kubeconfig import KubeConfig

from virt.api import core
from virt.api.kinds import CONFIG_MAP, VMI
from virt.kube.client import DeleteOptions, MergePatch, NotFoundError
from virt.kube.lightkube_client import LightkubeClient

NOWHERE = {
    "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
}


@pytest.mark.parametrize("name", [
    "../../../../../api/v1/namespaces/kube-system/secrets/s", "..", ".", "a/status", "a?watch=true", "a#b", "a%2fb",
    "a\nb",
])
async def test_a_name_that_no_object_can_have_leads_nowhere_else(name: str) -> None:
    """Preconditions: nobody listens, so that a request that is sent ends as ApiError 503."""
    single = KubeConfig.from_dict(NOWHERE).get()
    assert single is not None
    client = LightkubeClient(single, "virt-test")
    try:
        with pytest.raises(NotFoundError, match="no object can have this name"):
            await client.get(VMI, name, "ns")
        with pytest.raises(NotFoundError):
            await client.patch(CONFIG_MAP, name, MergePatch({}), namespace="ns")
        with pytest.raises(NotFoundError):
            await client.create(CONFIG_MAP, core.ConfigMap(), name)
        await client.delete(CONFIG_MAP, name, "ns", DeleteOptions())
    finally:
        await client.close()


async def test_fields_are_written_in_the_name_of_the_program() -> None:
    """The API server makes the first word of User-Agent the manager of what a patch without fieldManager writes."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = "http://{}:{}".format(*server.sockets[0].getsockname())
        config = {**NOWHERE, "clusters": [{"name": "c", "cluster": {"server": address}}]}
        single = KubeConfig.from_dict(config).get()
        assert single is not None
        client = LightkubeClient(single, "virt-test")
        try:
            await client.patch(CONFIG_MAP, "a", MergePatch({}), namespace="ns")
        finally:
            await client.close()
    (request,) = asked
    sent = [line for line in request.lower().split(b"\r\n") if line.startswith(b"user-agent:")]
    assert sent == [b"user-agent: virt-test"]
