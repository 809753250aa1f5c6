import pytest

from virt.api import v1
from virt.handler.migration.settings import in_clear, least_version, limits
from virt.rpc.messages import MigrationLimits

Settings = v1.MigrationConfiguration


@pytest.mark.parametrize(("written", "expected"), [
    (None, 0), (Settings(bandwidth_per_migration="0"), 0), (Settings(bandwidth_per_migration="64Mi"), 64),
    (Settings(bandwidth_per_migration="100"), 1),        # 0 would be no limit
])
def test_bandwidth_is_whole_mebibytes(written: Settings | None, expected: int) -> None:
    assert limits(written).bandwidth_mib_s == expected


def test_settings_reach_the_launcher() -> None:
    assert limits(Settings(
        completion_timeout_per_gib=10, progress_timeout=5, max_downtime_ms=300, allow_auto_converge=True,
        unsafe_migration_override=True, allow_workload_disruption=True)) == MigrationLimits(
            timeout_per_gib_s=10, stuck_s=5, max_downtime_ms=300, auto_converge=True, unsafe=True, may_pause=True)


@pytest.mark.parametrize(("post_copy", "disruption", "expected"), [
    (None, None, (False, False)), (True, None, (True, True)), (True, False, (False, False)),
    (False, True, (True, False)),
])
def test_post_copy_is_a_disruption(
    post_copy: bool | None, disruption: bool | None, expected: tuple[bool, bool]
) -> None:
    found = limits(Settings(allow_post_copy=post_copy, allow_workload_disruption=disruption))
    assert (found.may_pause, found.may_post_copy) == expected


def test_memory_that_devices_lock_does_not_come_in_pieces() -> None:
    """Such a guest is paused instead, where that is allowed."""
    found = limits(Settings(allow_post_copy=True, allow_workload_disruption=True), is_pinned=True)
    assert (found.may_pause, found.may_post_copy) == (True, False)


def test_a_guest_with_a_function_needs_newer_launchers() -> None:
    with_function = v1.DomainSpec(devices=v1.Devices(
        interfaces=(v1.Interface(name="fast", sriov=v1.InterfaceSRIOV()),)))
    assert least_version(v1.VirtualMachineInstanceSpec()) == 2
    assert least_version(v1.VirtualMachineInstanceSpec(domain=with_function)) == 3


def test_tls_is_off_only_where_it_is_said() -> None:
    assert [in_clear(each) for each in (None, Settings(), Settings(disable_tls=True))] == [False, False, True]
