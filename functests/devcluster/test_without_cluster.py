"""What the cluster command says before it does anything: settings and the state of the machine. No cluster is made."""

import json
from pathlib import Path

import pytest

from functests.libs import commands
from functests.libs.cluster import Cluster
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest

# Text of the file -> what must stand on standard error, every part of it.
BAD = {
    "unknown key": ("frobs: 3\n", ["frobs", "no such setting", "workers"]),
    "wrong type": ("workers: [1]\n", ["workers", "[1]", "a whole number"]),
    "no workers": ("workers: 0\n", ["workers", "0", "1 to 10"]),
    "bad version": ("kubernetes_version: '0.1'\n", ["kubernetes_version", "0.1", "one of"]),
    "bad network": ("pod_cidr: 10.0.0.0/99\n", ["pod_cidr", "10.0.0.0/99", "IPv4 network"]),
    "overlap": ("pod_cidr: 10.0.0.0/16\nservice_cidr: 10.0.1.0/24\n", ["pod_cidr", "service_cidr", "overlap"]),
    "a tab": ("workers:\n\t- 1\n", ["bad.yaml"]),
    "two at once": ("workers: 0\nfrobs: 3\n", ["workers", "frobs"]),
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """An environment whose state and cache folders are empty ones of the test."""
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.case("DEV-013")
def test_bad_settings_are_told_before_anything_is_made(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    """
    Preconditions: empty state and cache folders.
    Steps: up with one bad configuration at a time, a missing file, an unknown variable; --print-config of a good one.
    Expected: exit 2; every fault with file, path and what is allowed; no file made; each value with its source.
    """
    file = tmp_path / "bad.yaml"
    # Should a fault not be seen, `up` would begin: the first step only, on a cluster of another name.
    up = ("up", "--name", "ft-bad-settings", "--until", "requirements", "--config")
    wrong = []

    def expect(what: str, parts: list[str], config: Path, env: dict[str, str]) -> None:
        done = commands.cluster_up(*up, str(config), env=env)
        missing = [part for part in parts if part not in done.stderr]
        if done.code != 2 or missing or done.stdout or "Traceback" in done.stderr:
            wrong.append(f"{what}: exit {done.code}, not said: {missing}: {done.stdout}{done.stderr}")

    for what, (text, parts) in BAD.items():
        file.write_text(text)
        expect(what, [str(file), *parts], file, elsewhere)
    expect("missing file", ["nowhere.yaml"], tmp_path / "nowhere.yaml", elsewhere)
    file.write_text("workers: 3\n")
    expect("variable", ["VIRT_CLUSTER_FROBS"], file, {**elsewhere, "VIRT_CLUSTER_FROBS": "1"})
    assert not wrong, "\n".join(wrong)
    assert not (tmp_path / "state").exists(), list((tmp_path / "state").rglob("*"))
    assert not (tmp_path / "cache").exists(), list((tmp_path / "cache").rglob("*"))

    shown = commands.cluster_up("up", "--name", "ft-good", "--config", str(file), "--print-config", env=elsewhere)
    assert shown.code == 0, shown.stderr
    lines = {line.split(" = ")[0]: line for line in shown.stdout.splitlines()}
    assert lines["workers"].startswith("workers = 3"), lines
    assert str(file) in lines["workers"], lines
    assert "command line" in lines["name"], lines
    assert "default" in lines["pod_cidr"], lines


@pytest.mark.case("DEV-015")
def test_doctor_judges_the_machine_and_leaves_it_alone(cluster: Cluster, admin: Rest, nodes: Nodes) -> None:
    """
    Preconditions: a cluster that is up.
    Steps: doctor as JSON and as text.
    Expected: each check with verdict, value and a fix when not ok; exit 0 without a failed one; KVM is what a guest
        showed, and state file and node labels agree; nothing changed.
    """
    before = {node.name: node.identity() for node in nodes}
    as_json = commands.cluster_up("doctor", "-o", "json")
    as_text = commands.cluster_up("doctor")
    checks = json.loads(as_json.stdout)
    assert {"cpus", "memory", "disk", "engine", "kvm", "cgroups"} <= {check["name"] for check in checks}, checks
    faults = [
        check
        for check in checks
        if check["verdict"] not in ("ok", "warn", "fail")
        or not check["value"]
        or (check["verdict"] != "ok" and not check["fix"])
    ]
    assert not faults, faults
    failed = any(check["verdict"] == "fail" for check in checks)
    assert (as_json.code, as_text.code) == (int(failed), int(failed)), as_text.stdout
    assert [check["name"] for check in checks if f"{check['name']}:" not in as_text.stdout] == []

    kvm = next(check for check in checks if check["name"] == "kvm")
    assert (kvm["verdict"] == "ok") == cluster.capabilities["kvm"], kvm
    if Path("/dev/kvm").exists() and kvm["verdict"] != "ok":
        assert "not usable" in kvm["value"], kvm
    # The handlers run on workers; each says of its node whether guests may use KVM there.
    for name in cluster.workers:
        labels = admin.get(f"/api/v1/nodes/{name}").ok()["metadata"]["labels"]
        assert labels.get("virt.kubevirt.io/kvm", "false") == str(cluster.capabilities["kvm"]).lower(), labels
    assert {node.name: node.identity() for node in nodes} == before
