"""The domain drafted by a process apart, and what the launcher itself reads of a VMI."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from virt.api import codec
from virt.launcher.disks.container import HeldFile
from virt.launcher.draft import DraftingProcess
from virt.launcher.outline import Outline
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import GivenFunction, HostFacts, SyncVmi

VMI: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "uid": "11111111-2222-3333-4444-555555555555"},
    "spec": {
        "startStrategy": None,
        "terminationGracePeriodSeconds": 7,
        "domain": {
            "memory": {"guest": "64Mi"},
            "devices": {"disks": [{"name": "root"}, {"name": "data"}], "interfaces": None},
            "firmware": {"kernelBoot": {"container": {"image": "guest", "kernelPath": "/boot/vmlinux"}}},
        },
        "volumes": [
            {"name": "root", "containerDisk": {"image": "guest"}},
            {"name": "unused", "containerDisk": {"image": "guest"}},
            {"name": "data", "emptyDisk": {"capacity": "1Gi"}},
        ],
    },
}


def order(vmi: object) -> SyncVmi:
    return SyncVmi(vmi=json.dumps(vmi).encode(), interfaces=(), facts=HostFacts(kvm=False))


def outline(vmi: object) -> Outline:
    return codec.decode(json.dumps(vmi), Outline)


class Containers:
    """In place of ContainerFiles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def files(self, volume: str) -> dict[str, HeldFile]:
        assert volume == "kernel-boot"
        return {"kernel": HeldFile(str(self._folder / "vmlinux"), "raw", 0)}


def test_an_outline_names_the_volumes_of_containers() -> None:
    read = outline(VMI)
    assert read.container_volumes == ("root", "kernel-boot")
    assert (read.uid[:4], read.spec.termination_grace_period_seconds, read.spec.start_strategy) == ("1111", 7, None)


def test_an_outline_of_nearly_nothing() -> None:
    assert outline({"metadata": {"uid": "u"}}).container_volumes == ()


@pytest.mark.runs_processes
async def test_a_draft_comes_from_the_process_that_waits_and_from_a_new_one(tmp_path: Path) -> None:
    diskless = {**VMI, "spec": {**VMI["spec"], "volumes": []}}
    diskless["spec"]["domain"] = {**VMI["spec"]["domain"], "devices": {}}
    drafts = DraftingProcess(Containers(tmp_path))      # type: ignore[arg-type]   # all that is asked of it
    await drafts.warm_up()
    first = await drafts.draft(order(diskless), outline(diskless))
    second = await drafts.draft(order(diskless), outline(diskless))
    assert first == second
    assert f"<kernel>{tmp_path}/vmlinux</kernel>" in first.xml
    await drafts.close()


@pytest.mark.runs_processes
async def test_a_refusal_comes_back_and_an_unused_process_ends(tmp_path: Path) -> None:
    drafts = DraftingProcess(Containers(tmp_path))      # type: ignore[arg-type]
    with pytest.raises(RequestFailed, match="cannot be read") as caught:
        await drafts.draft(order({"spec": {"domain": 7}}), Outline())
    assert caught.value.code == "InvalidSpec"
    await drafts.warm_up()
    await drafts.close()


@pytest.mark.runs_processes
async def test_what_device_plugins_and_the_handler_gave_reaches_the_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCI_RESOURCE_EXAMPLE_COM_CARD", "0000:03:00.0")
    devices = {
        "hostDevices": [{"name": "card", "deviceName": "example.com/card"}],
        "interfaces": [{"name": "fast", "sriov": {}}],
    }
    spec = {**VMI["spec"], "volumes": [], "domain": {**VMI["spec"]["domain"], "devices": devices},
            "networks": [{"name": "fast", "multus": {"networkName": "fast"}}]}
    vmi = {**VMI, "spec": spec}
    function = GivenFunction(name="fast", address="0000:01:10.2", mac="de:ad:00:00:be:ef")
    drafts = DraftingProcess(Containers(tmp_path))      # type: ignore[arg-type]
    draft = await drafts.draft(msgspec.structs.replace(order(vmi), functions=(function,)), outline(vmi))
    assert '<address domain="0x0000" bus="0x03" slot="0x00" function="0x0"/>' in draft.xml
    assert '<address domain="0x0000" bus="0x01" slot="0x10" function="0x2"/>' in draft.xml
    await drafts.close()
