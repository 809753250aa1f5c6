import asyncio
import stat
from pathlib import Path

import pytest

from tests.waits import until
from virt.api import v1
from virt.handler.devices.plugin import Plugin
from virt.handler.node.configuration import Configuration
from virt.handler.node.plugins import DevicePlugins
from virt.handler.pci.offers import Function, PassedThrough


def cr(*, emulation: bool) -> v1.KubeVirt:
    developer = v1.DeveloperConfiguration(use_emulation=emulation)
    return v1.KubeVirt(spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(developer_configuration=developer)))


def test_kvm_is_offered_where_the_device_is_and_emulation_is_not_asked_for(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    told: list[bool] = []
    configuration = Configuration(lambda: told.append(True), kvm_device=device)
    assert not configuration.kvm()
    device.write_text("")
    assert configuration.kvm()
    configuration.changed(None, cr(emulation=True))
    assert not configuration.kvm()
    assert not configuration.facts().kvm
    configuration.changed(None, cr(emulation=True))
    assert told == [True]


def names(plugins: DevicePlugins) -> set[str]:
    return {name.removeprefix("devices.kubevirt.io/") for name in plugins._plugins}


def served(*addresses: str, name: str = "example.com/card") -> PassedThrough:
    return PassedThrough(name, "CARDS", tuple(Function(address) for address in addresses), Path("/run/kv"))


async def test_what_is_passed_through_comes_changes_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virt.handler.devices.files.os.mknod", lambda path, *_: Path(path).touch())
    offers: tuple[PassedThrough, ...] = (served("a"), served("x", name="devices.kubevirt.io/tun"))
    plugins = DevicePlugins(tmp_path / "node", tmp_path / "kubelet", tmp_path / "image", lambda: False, lambda: offers)
    task = asyncio.create_task(plugins.run())
    try:
        await until(lambda: "example.com/card" in plugins._plugins)
        plugin = plugins._plugins["example.com/card"]
        assert [device.id for device in plugin.offer.listed] == ["a"]
        assert len(plugins._plugins["devices.kubevirt.io/tun"].offer.listed) == 1000, "nobody takes our own names"
        offers = (served("a", "b"),)
        plugins.reconsider()
        await until(lambda: [device.id for device in plugin.offer.listed] == ["a", "b"])
        assert plugins._plugins["example.com/card"] is plugin, "the kubelet keeps its stream"
        offers = ()
        plugins.reconsider()
        await until(lambda: names(plugins) == {"tun", "container-disk"})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_node_takes_guests_while_the_kubelet_does_not_know_a_new_resource_yet(tmp_path: Path) -> None:
    plugins = DevicePlugins(tmp_path, tmp_path, tmp_path, lambda: False)
    for name, streams in (("devices.kubevirt.io/tun", 1), ("example.com/card", 0)):
        plugins._plugins[name] = Plugin(served("a", name=name), tmp_path)
        plugins._plugins[name].watched(streams)
    assert plugins.is_ready
    plugins._plugins["devices.kubevirt.io/tun"].watched(-1)
    assert not plugins.is_ready


def test_a_launcher_is_told_what_the_cluster_says_of_every_guest() -> None:
    configuration = Configuration()
    configuration.changed(None, v1.KubeVirt(spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(
        smbios=v1.SMBiosConfiguration(version="1.2", sku="k"), mem_balloon_stats_period=0,
        virtual_machine_options=v1.VirtualMachineOptions(disable_free_page_reporting=v1.EmptySwitch()),
    ))))
    facts = configuration.facts()
    assert (facts.smbios_manufacturer, facts.smbios_version, facts.smbios_sku) == ("KubeVirt", "1.2", "k")
    assert (facts.balloon_stats_period_s, facts.free_page_reporting) == (0, False)


async def test_the_kvm_plugin_comes_and_goes_with_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virt.handler.devices.files.os.mknod", lambda path, *_: Path(path).touch())
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "container-disk").write_text("x")
    kvm = [False]
    plugins = DevicePlugins(
        tmp_path / "node", tmp_path / "kubelet", tmp_path / "image", lambda: kvm[0], userfaultfd=126)
    task = asyncio.create_task(plugins.run())
    try:
        await until(lambda: names(plugins) == {"tun", "container-disk", "userfaultfd"})
        assert (tmp_path / "node" / "devices" / "userfaultfd").exists()
        assert not plugins.is_ready
        kvm[0] = True
        plugins.reconsider()
        await until(lambda: names(plugins) == {"tun", "container-disk", "kvm", "userfaultfd"})
        kvm[0] = False
        plugins.reconsider()
        await until(lambda: names(plugins) == {"tun", "container-disk", "userfaultfd"})
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    helper = tmp_path / "node" / "bin" / "container-disk"
    assert stat.S_IMODE(helper.stat().st_mode) == 0o755
