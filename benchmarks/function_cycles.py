"""Virtual functions given to a pod and taken back, again and again, with the node agent's own code on real cards.

Runs on the node, in the container of its agent, which must have no functions to look after meanwhile:
``benchmarks.functions`` sees to that and reads the output, one JSON object for each cycle: seconds of giving (reading
what the pod has, resetting, setting MAC and VLAN) and of taking back (one look, which resets), and what is wrong. What
the kubelet and the pod would do is written into a folder of our own, so no guest is needed.

Arguments: how many cycles, a card, and the configuration of functions (JSON) in which it is.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from virt.api import core, v1
from virt.api.core.attachment import RESOURCE_ANNOTATION
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import Process, pods_with_processes
from virt.handler.net.model import NEUTRAL, FunctionState
from virt.handler.pci.allocations import CHECKPOINT
from virt.handler.pci.service import Node, NodeCards, PciDevices
from virt.handler.pci.sysfs import Sysfs
from virt.kube.client import Client

_MAC, _VLAN = "de:ad:00:00:00:63", 99


class Definitions:
    """The one network definition of the API that is asked for."""

    def __init__(self, resource: str) -> None:
        self._found = core.NetworkAttachmentDefinition(
            metadata=core.ObjectMeta(name="fast", namespace="ns", annotations={RESOURCE_ANNOTATION: resource}),
            spec=core.NetworkAttachmentDefinitionSpec(config=json.dumps({"type": "sriov", "vlan": _VLAN})))

    async def get(self, *_: Any) -> core.NetworkAttachmentDefinition:
        return self._found


def guest() -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="vm", namespace="ns", uid="u1"),
        spec=v1.VirtualMachineInstanceSpec(
            domain=v1.DomainSpec(devices=v1.Devices(interfaces=(
                v1.Interface(name="fast", sriov=v1.InterfaceSRIOV(), mac_address=_MAC),))),
            networks=(v1.Network(name="fast", multus=v1.MultusNetwork(network_name="fast")),)))


def checkpoint(pod: str, resource: str, address: str) -> str:
    entry = {"PodUID": pod, "ContainerName": "compute", "ResourceName": resource, "DeviceIDs": {"-1": [address]}}
    return json.dumps({"Data": {"PodDeviceEntries": [entry], "RegisteredDevices": {}}, "Checksum": 0})


def resource_of(configuration: str, card: str) -> str:
    pool = next(each for each in json.loads(configuration)["resourceList"] if card in each["selectors"]["pfNames"])
    return f"{pool['resourcePrefix']}/{pool['resourceName']}"


async def cycles(count: int, card: str, configuration: str, folder: Path) -> None:
    resource, cards, sysfs = resource_of(configuration, card), NodeCards(), Sysfs()
    living: set[str] = set()
    told: list[str] = []
    devices = PciDevices(
        cast("Client", Definitions(resource)),
        Node(folder, folder, sysfs, cards, living_pods=lambda: pods_with_processes() | living),
        permitted=v1.PermittedHostDevices, changed=lambda: None, tell=told.append)
    devices.configure(configuration)
    await devices.look()
    functions = next(device.virtual for device in sysfs.devices() if device.card == card)
    for cycle in range(count):
        number = cycle % len(functions)
        pod = f"{cycle:08x}-0000-4000-8000-000000000000"
        (folder / CHECKPOINT).write_text(checkpoint(pod, resource, functions[number]))
        living.add(pod)
        launcher = Launcher("ns/vm", guest(), Process(os.getpid(), pod, -1, -1))
        began = time.monotonic()
        await devices.prepare(launcher.vmi, launcher)
        given = time.monotonic()
        set_up = (await cards.read(card))[number]
        living.clear()
        ended = time.monotonic()
        await devices.look()
        taken = time.monotonic()
        wrong = list(told)
        told.clear()
        if set_up != FunctionState(mac=_MAC, vlan=_VLAN):
            wrong.append(f"function {number} was {set_up}")
        wrong += [f"function {each} stays {state}" for each, state in (await cards.read(card)).items()
                  if state != NEUTRAL]
        wrong += [f"{device.address} has driver {device.driver or 'none'}" for device in sysfs.devices()
                  if device.address in functions and not device.is_for_guests]
        print(json.dumps({"give_s": given - began, "take_s": taken - ended, "wrong": wrong}), flush=True)


def main() -> None:
    count, card, configuration = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="cycles-") as folder:
        asyncio.run(cycles(int(count), card, configuration, Path(folder)))


if __name__ == "__main__":
    main()
