"""virt-api as a whole: its tasks against a fake kube-apiserver, with everything mounted as in its pod."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.authority import Authority
from tests.virt.apiserver.stand import Kube, client_tls
from tests.waits import HANG_S
from virt.api import core, kinds, names, v1, webhookpaths
from virt.cli import api
from virt.kube import lightkube_client


class Cluster(Kube):
    async def server_version(self) -> str:
        return "v1.34.0"


async def test_it_becomes_ready_knows_the_front_proxy_and_serves_webhooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy_ca, our_ca = Authority("front-proxy-ca"), Authority("kubevirt.io")
    proxy_ca.issue(tmp_path / "proxy", "front-proxy-client")
    (tmp_path / "ca-bundle").write_text(our_ca.pem)
    for name in (names.API_CERTS, names.HANDLER_CLIENT_CERTS):
        our_ca.issue(tmp_path / name, name)
    kube = Cluster(
        (kinds.CONFIG_MAP, core.ConfigMap(
            metadata=core.ObjectMeta(name="extension-apiserver-authentication", namespace="kube-system"),
            data={"requestheader-client-ca-file": proxy_ca.pem, "requestheader-allowed-names": '["front-proxy-client"]',
                  "requestheader-username-headers": '["X-Remote-User"]'})),
        (kinds.KUBEVIRT, v1.KubeVirt(
            metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
            status=v1.KubeVirtStatus(observed_kube_virt_version="v1.8.1"))),
    )
    kube.reviews = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    monkeypatch.setattr(names, "CERTS_DIR", str(tmp_path))
    monkeypatch.setattr(names, "CA_FILE", str(tmp_path / "ca-bundle"))
    monkeypatch.setattr(names, "API_PORT", port)
    monkeypatch.setattr(lightkube_client, "connect", lambda program: kube)
    monkeypatch.delenv("KUBEVIRT_VERSION", raising=False)
    tasks = await api.tasks(asyncio.Event())
    running = [asyncio.ensure_future(task()) for task in tasks.values()]
    root = f"https://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_tls(tmp_path / "proxy"))) as session:
            assert await ready(session, f"{root}/apis/subresources.kubevirt.io/v1/healthz") == {
                "apiserver": {"connectivity": "ok", "version": "v1.34.0"}, "config-resource-version": "102"}
            async with session.get(f"{root}/apis/subresources.kubevirt.io/v1/version") as response:
                assert (await response.json())["gitVersion"] == "v1.8.1"
            start = f"{root}/apis/subresources.kubevirt.io/v1/namespaces/ns/virtualmachines/x/start"
            async with session.put(start, headers={"X-Remote-User": "alice"}) as response:
                assert response.status == 404
            review = {"request": {"uid": "1", "operation": "CREATE", "object": {"spec": {"running": True}}}}
            async with session.post(root + webhookpaths.VM_VALIDATE, json=review) as response:
                assert (await response.json())["response"]["status"]["code"] == 422
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def ready(session: aiohttp.ClientSession, url: str) -> object:
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return await response.json()
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)
