"""A run with one of everything, for the golden files."""

from functests.verdict.records import Flake, Guest, Memory, Orphan, Test, Verdict

T0 = 1_790_000_000.0
ERROR = "E   AssertionError: no shell answered in 37 s <&>\nE   assert 0 == 1"
PATH = "functests/lifecycle/test_vm.py::"

VERDICT = Verdict(
    run="20260921T135320.000000",
    started=T0,
    seconds=130.0,
    exit_status=1,
    cluster="dev",
    revision="0123456789ab+",
    workers=2,
    command="pytest functests -n 2",
    tests=(
        Test(id=PATH + "test_good", outcome="passed", case="LIF-001", seconds=21.5, started=T0 + 2, worker="gw0",
             boots=(12.5, 13.0), ledger_s=0.3, settled_s=0.5),
        Test(id=PATH + "test_bad[a|b]", outcome="failed", case="LIF-002", seconds=61.0, started=T0 + 25, worker="gw1",
             error=ERROR, headline="AssertionError: no shell answered in 37 s <&>", fingerprint="aaaaaaaaaaaa",
             seen_before=3, evidence="lifecycle-test_bad", boots=(30.0,), ledger_s=0.4),
        Test(id=PATH + "test_leaks", outcome="leaked", case="LIF-003", seconds=40.0, started=T0 + 30, worker="gw0",
             error="E   Leak: left behind", headline="Leak: left behind", leak="dev-worker: tap tap0",
             fingerprint="bbbbbbbbbbbb", ledger_s=0.3, settled_s=25.0),
        Test(id=PATH + "test_crashes", outcome="crashed", worker="gw1", error="worker 'gw1' crashed",
             headline="worker 'gw1' crashed", fingerprint="cccccccccccc"),
        Test(id=PATH + "test_lost", outcome="lost", error="collected, and never reported",
             headline="collected, and never reported", fingerprint="dddddddddddd", runs=0),
        Test(id=PATH + "test_borrows", outcome="passed", seconds=3.0, started=T0 + 90, warm="borrowed",
             changed="files:\n  +/tmp/left 5"),
        Test(id=PATH + "test_skipped", outcome="skipped", reason="cluster dev lacks: kvm", seconds=0.1),
        Test(id=PATH + "test_retried", outcome="passed", seconds=9.0, started=T0 + 100, runs=2,
             retries=("node-restarting: dev-worker was not ready",)),
    ),
    collect_errors={"functests/boot/test_broken.py": "SyntaxError: \x1b[31mred"},
    orphans=(Orphan("dev-worker: file /var/run/kubevirt/left", (PATH + "test_good", PATH + "test_leaks")),),
    guests=(
        Guest(name="vm", namespace="ft-good", node="dev-worker", created=T0 + 3, running=T0 + 8, last_seen=T0 + 20),
        Guest(name="vm", namespace="ft-bad", node="dev-worker2", created=T0 + 26, last_seen=T0 + 80),
        Guest(name="late", namespace="ft-bad", node="dev-worker", created=T0 + 30, running=T0 + 36, last_seen=T0 + 70),
    ),
    memory=tuple(
        Memory(T0 + at, node, mib)
        for node, values in {"dev-worker": (900, 1400, 950), "dev-worker2": (800, 1100, 1200)}.items()
        for at, mib in zip((4, 60, 120), values, strict=True)
    ),
    flakes=(Flake(PATH + "test_bad[a|b]", 4, 50, mixed=True),),
    faults=("lane tier1 ran 8 tests, it must have 90 <&>",),
    notes=("worker gw1 died and was replaced: Not properly terminated",),
)
