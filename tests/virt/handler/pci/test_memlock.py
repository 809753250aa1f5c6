import resource
from pathlib import Path

import pytest

from virt.api import v1
from virt.handler.launchers.process import Process
from virt.handler.pci.memlock import MemoryLockError, allow, is_certain, locked_bytes

POD = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
OTHER = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6b"
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max processes             62761                62761                processes
Max locked memory         {soft:<20} {hard:<20} bytes
Max address space         unlimited            unlimited            bytes
"""
LAUNCHER = Process(pid=10, pod_uid=POD, netns=-1, death=-1)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """10 -> 11 (a thread of 10 started it) -> 12; 13 has taken the number of a child that ended."""
    for pid, threads, pod in ((10, {10: "", 15: "11 13"}, POD), (11, {11: "12"}, POD), (12, {12: ""}, POD),
                              (13, {13: ""}, OTHER)):
        for thread, children in threads.items():
            task = tmp_path / str(pid) / "task" / str(thread)
            task.mkdir(parents=True)
            (task / "children").write_text(children)
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/kubepods/burstable/pod{pod}/abc\n")
        (tmp_path / str(pid) / "limits").write_text(LIMITS.format(soft="65536", hard="65536"))
    return tmp_path


def test_the_launcher_and_its_children_may_lock_the_memory(proc: Path) -> None:
    calls: list[tuple[int, int, tuple[int, int]]] = []
    allow(LAUNCHER, 1 << 20, proc=proc, set_limit=lambda *call: calls.append(call))
    assert calls == [(pid, resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20)) for pid in (10, 11, 12)]


@pytest.mark.parametrize(("soft", "hard", "raised"), [
    ("unlimited", "unlimited", False), ("4096", "unlimited", False), ("4095", "unlimited", True), ("0", "4096", True)])
def test_who_may_lock_enough_is_left_alone(proc: Path, soft: str, hard: str, raised: bool) -> None:
    for pid in (10, 11):
        (proc / str(pid) / "limits").write_text(LIMITS.format(soft="unlimited", hard="unlimited"))
    (proc / "12" / "limits").write_text(LIMITS.format(soft=soft, hard=hard))
    pids: list[int] = []
    allow(LAUNCHER, 4096, proc=proc, set_limit=lambda pid, *_: pids.append(pid))
    assert pids == ([12] if raised else [])


def test_a_node_that_may_not_says_what_it_lacks(proc: Path) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(MemoryLockError, match=r"process 10 of pod .* 1048576 bytes .*not permitted") as raised:
        allow(LAUNCHER, 1 << 20, proc=proc, set_limit=refused)
    assert "CAP_SYS_RESOURCE" in raised.value.hint


def test_a_child_that_ends_meanwhile_is_no_fault(proc: Path) -> None:
    asked: list[int] = []

    def ended(pid: int, *_: object) -> None:
        asked.append(pid)
        if pid == 11:
            raise ProcessLookupError

    allow(LAUNCHER, 1 << 20, proc=proc, set_limit=ended)
    assert asked == [10, 11, 12], "those after it are allowed all the same"


@pytest.mark.parametrize(("devices", "size"), [
    (v1.Devices(), 0),
    (v1.Devices(interfaces=(v1.Interface(name="a", bridge=v1.InterfaceBridge()),)), 0),
    (v1.Devices(gpus=(v1.GPU(name="a"),)), (132 << 20) + (1 << 30)),
    (v1.Devices(host_devices=(v1.HostDevice(name="a"),)), (132 << 20) + (1 << 30)),
    (v1.Devices(interfaces=(v1.Interface(name="a", sriov=v1.InterfaceSRIOV()),)), (132 << 20) + (1 << 30)),
])
def test_only_guests_with_devices_lock_memory(devices: v1.Devices, size: int) -> None:
    domain = v1.DomainSpec(devices=devices, memory=v1.Memory(guest="129Mi"))
    assert locked_bytes(v1.VirtualMachineInstanceSpec(domain=domain), v1.PermittedHostDevices()) == size


PERMITTED = v1.PermittedHostDevices(
    usb=(v1.USBHostDevice(resource_name="x.com/stick"),),
    pci_host_devices=(
        v1.PciHostDevice(resource_name="x.com/card"),
        v1.PciHostDevice(resource_name="x.com/outside", external_resource_provider=True)),
    mediated_devices=(v1.MediatedHostDevice(resource_name="x.com/outside-part", external_resource_provider=True),))


@pytest.mark.parametrize(("names", "locks", "certain"), [
    (("x.com/stick",), False, False),
    (("x.com/card",), True, True),
    (("x.com/outside", "x.com/outside-part"), True, False),
    (("x.com/outside", "x.com/card"), True, True),
    (("x.com/gone",), True, True),
])
def test_what_locks_memory_is_known_by_its_kind(names: tuple[str, ...], locks: bool, certain: bool) -> None:
    """A USB device does not; of what somebody else serves nobody here knows whether it was given at all."""
    devices = v1.Devices(host_devices=tuple(v1.HostDevice(name=name, device_name=name) for name in names))
    spec = v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(devices=devices))
    assert (locked_bytes(spec, PERMITTED) > 0, is_certain(spec, PERMITTED)) == (locks, certain)


def test_a_function_locks_memory() -> None:
    devices = v1.Devices(interfaces=(v1.Interface(name="n", sriov=v1.InterfaceSRIOV()),))
    spec = v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(devices=devices))
    assert is_certain(spec, PERMITTED)
