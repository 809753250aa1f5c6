"""Which changes of a template a running guest follows."""

from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import codec, core, defaults, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.vm.claimchange import NOT_LIVE
from virt.controller.vm.liveupdate import Update, needs_restart, same_template, update

NOW = "2026-01-01T12:00:00Z"
LIVE, STAGE = ClusterConfig(), ClusterConfig(rollout_strategy="Stage")


def vm(**domain: Any) -> v1.VirtualMachineSpec:
    return codec.from_json({"template": {"spec": {"domain": domain}}}, v1.VirtualMachineSpec)


def live(spec: v1.VirtualMachineSpec) -> v1.VirtualMachineInstance:
    """The VMI that the VM has started."""
    assert spec.template is not None
    made = v1.VirtualMachineInstance(metadata=core.ObjectMeta(name="vm", uid="u"), spec=spec.template.spec)
    made = defaults.instance(made, LIVE, now=NOW, uuid="u")
    return replace(made, status=replace(made.status, phase="Running"))


START = vm(cpu={"sockets": 1, "cores": 2}, memory={"guest": "1Gi"})
SHORT = vm(memory={"guest": "1Gi"})


@pytest.mark.parametrize(("then", "now", "restart"), [
    (START, START, ""),
    (START, vm(cpu={"sockets": 4, "cores": 2}, memory={"guest": "1Gi"}), ""),
    (START, vm(cpu={"cores": 2}, memory={"guest": "1Gi"}), ""),
    (SHORT, vm(cpu={"sockets": 2}, memory={"guest": "1Gi"}), ""),
    (vm(cpu={"sockets": 2}, memory={"guest": "1Gi"}), SHORT, ""),
    (START, vm(cpu={"sockets": 1, "cores": 4}, memory={"guest": "1Gi"}), NOT_LIVE),
    (START, vm(cpu={"sockets": 1, "cores": 2, "maxSockets": 9}, memory={"guest": "1Gi"}), NOT_LIVE),
    (START, vm(cpu={"sockets": 1, "cores": 2}, memory={"guest": "1Gi", "maxGuest": "2Gi"}), NOT_LIVE),
    (START, vm(cpu={"sockets": 4, "cores": 2}, memory={"guest": "3Gi"}), NOT_LIVE),
    (START, vm(cpu={"sockets": 4, "cores": 2, "model": "Penryn"}, memory={"guest": "1Gi"}), NOT_LIVE),
    (None, START, ""),
])
def test_other_fields_take_a_restart(
    then: v1.VirtualMachineSpec | None, now: v1.VirtualMachineSpec, restart: str
) -> None:
    assert needs_restart(then, now, live(then or now).spec, is_live=True) == restart


def test_a_guest_is_what_the_template_describes_once_its_vmi_is() -> None:
    more = vm(cpu={"sockets": 2, "cores": 2}, memory={"guest": "1Gi"})
    assert same_template(START, START, live(START).spec)
    assert not same_template(START, more, live(START).spec)
    assert same_template(START, more, live(more).spec)
    assert same_template(SHORT, vm(cpu={"sockets": 1}, memory={"guest": "1Gi"}), live(SHORT).spec)
    assert not same_template(None, START, live(START).spec)


def updated(
    now: v1.VirtualMachineSpec, vmi: v1.VirtualMachineInstance | None, config: ClusterConfig = LIVE, restart: str = ""
) -> Update:
    return update(
        v1.VirtualMachine(metadata=core.ObjectMeta(name="vm"), spec=now), vmi, {}, config, restart=restart, now=NOW)


def test_a_running_guest_follows_under_live_update_only() -> None:
    more = vm(cpu={"sockets": 2, "cores": 2}, memory={"guest": "1Gi"})
    found = updated(more, live(START))
    assert found.vmi is not None
    assert (found.vmi.spec.domain.cpu or v1.CPU()).sockets == 2
    assert updated(more, live(START), STAGE) == Update(restart=NOT_LIVE)
    assert updated(START, live(START), STAGE) == Update()
    assert updated(more, live(START), restart="other") == Update(restart="other")


def test_a_guest_that_does_not_run_yet_or_any_more_is_left_alone() -> None:
    more = vm(cpu={"sockets": 2, "cores": 2}, memory={"guest": "1Gi"})
    given = live(START)
    for other in (
        None, replace(given, status=replace(given.status, phase="Scheduling")),
        replace(given, metadata=replace(given.metadata, deletion_timestamp=NOW)),
    ):
        assert updated(more, other) == Update()
