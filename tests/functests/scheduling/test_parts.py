"""Demands, lanes, plans, the account, the machine."""

from pathlib import Path

import pytest

from functests.scheduling import demand as demands
from functests.scheduling import durations, lanes, machine, plan
from functests.scheduling.admission import Capacity
from functests.scheduling.demand import Demand
from functests.scheduling.dispatch import Dispatch
from functests.scheduling.plan import Entry


def test_the_mark_corrects_field_by_field_what_fixtures_say() -> None:
    demands.demands(vcpus=1, memory_mib=400, boots=1)(test_the_mark_corrects_field_by_field_what_fixtures_say)
    found = demands.of([test_the_mark_corrects_field_by_field_what_fixtures_say.__name__, "x"], [{"boots": 3}])
    assert found == Demand(vcpus=1, memory_mib=400, boots=3)
    assert demands.of([], [], ["serial"]).alone


def test_a_misspelt_demand_is_an_error() -> None:
    with pytest.raises(ValueError, match="no field memory"):
        demands.of([], [{"memory": 4}])


def test_lanes() -> None:
    tier1, disruptive, sriov = (lanes.LANES[name] for name in ("tier1", "disruptive", "sriov"))
    assert tier1.has("LIF-001", [], [])
    assert not tier1.has("LIF-003", [], [])
    assert disruptive.has("REC-013", ["serial"], [])
    assert sriov.has("SRI-001", [], ["sriov"])
    core = lanes.LANES["sriov-core"]
    assert core.has("SRI-001", ["sriov_core"], ["sriov"])
    assert not core.has("SRI-002", [], ["sriov"])
    assert lanes.shrunk(core, 4, filtered=False)
    assert lanes.shrunk(tier1, tier1.least - 1, filtered=False)
    assert not lanes.shrunk(tier1, tier1.least, filtered=False)
    assert not lanes.shrunk(tier1, 1, filtered=True)
    assert [lane.name for lane in lanes.LANES.values() if not lanes.shrunk(lane, 4, filtered=False)] == []
    assert lanes.lacking(sriov, ["kvm"]) == ["sriov"]


def test_unit_tests_of_a_file_are_one_job_and_earlier_runs_say_how_long() -> None:
    units = [Entry(f"t.py::{name}", plan.UNIT, "t.py") for name in "ab"]
    entries = [units[0], Entry("f.py::x", Demand(boots=1)), units[1]]
    made = plan.jobs(entries, {"t.py::b": 7.0})
    assert [(job.key, indices) for job, indices in made] == [("t.py", [0, 2]), ("f.py::x", [1])]
    assert made[0][0].seconds == pytest.approx(7.1)
    orders = {tuple(job.key for job, _ in plan.jobs(entries, {}, seed=seed)) for seed in range(20)}
    assert len(orders) == 2


def test_what_a_test_booted_the_last_time_corrects_a_default_but_not_a_mark() -> None:
    default = Demand(vcpus=1, memory_mib=400, boots=1)
    entries = [Entry("a", default), Entry("b", default), Entry("c", default, declared=True), Entry("d", default)]
    found = plan.corrected(entries, {"a": 0, "b": 3, "c": 0})
    assert [(one.demand.boots, one.demand.vcpus) for one in found] == [(0, 0), (3, 1), (1, 1), (1, 1)]


def dispatch(count: int) -> tuple[Dispatch, list[str]]:
    log: list[str] = []
    entries = [Entry(f"f.py::t{number}", Demand(vcpus=1)) for number in range(count)]
    return Dispatch(entries, Capacity(2, 1000), {}, log=log.append, clock=lambda: 0.0), log


def test_the_account_tells_a_test_that_never_ended() -> None:
    made, _ = dispatch(2)
    made.assign(["gw0"])
    assert made.audit() == ["f.py::t0 never ran to its end", "f.py::t1 never ran to its end"]


def test_the_account_tells_a_test_that_ended_where_it_was_not_sent() -> None:
    made, _ = dispatch(1)
    made.assign(["gw0"])
    made.complete("gw0", 0)
    made.complete("gw1", 0)
    assert made.audit() == ["f.py::t0 ended on gw1, which was not to run it"]


def test_a_refusal_is_logged_once_with_its_reason() -> None:
    made, log = dispatch(4)
    made.assign(["gw0", "gw1", "gw2"])
    made.assign(["gw2"])
    assert [line for line in log if "refused" in line] == [
        "     0.0 refused f.py::t2 and 1 more: vCPUs: wants 1, 0 of 2 are free"
    ]


def test_memory_is_the_machines_or_what_its_cgroup_leaves(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable:    8388608 kB\n")
    assert machine.available_mib(meminfo, tmp_path) == 8192
    (tmp_path / "memory.max").write_text(f"{4 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**30}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2 * 2**30}\n")
    assert machine.available_mib(meminfo, tmp_path) == 3072


def test_an_unreadable_history_is_none(tmp_path: Path) -> None:
    (tmp_path / "schedule.json").write_text("{")
    (tmp_path / "history").write_text("no database")
    assert durations.known(tmp_path, tmp_path / "history") == {}
