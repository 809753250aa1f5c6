"""When the stack counts as rolled out, and when waiting is useless."""

from typing import Any

from cluster_up.actions.rollout import crashed, is_rolled_out, last_words, lost, summary, without_stale
from cluster_up.kube import seconds_of

API, CONTROLLER = "localhost:5001/virt-api:new", "localhost:5001/virt-controller:new"
OLD = "localhost:5001/virt-api:old"
IMAGES = {"virt-api": API, "virt-controller": CONTROLLER}
STARTED = "2026-01-01T00:01:00Z"


def pod(name: str, *, image: str = API, ready: bool = True, restarts: int = 0, waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": STARTED}}
    status = {"name": "main", "ready": ready, "restartCount": restarts, "state": state}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "n", "containers": [{"name": "main", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


DEPLOYED = [{"status": {"phase": "Deployed"}}]


def test_rolled_out_means_deployed_with_every_pod_ready_on_the_newest_image_of_its_service() -> None:
    good = [pod("a"), pod("c", image=CONTROLLER)]
    assert is_rolled_out(IMAGES, DEPLOYED, good)
    assert not is_rolled_out(IMAGES, DEPLOYED, [*good, pod("b", image=OLD)])
    assert not is_rolled_out(IMAGES, DEPLOYED, [*good, pod("b", ready=False)])
    assert not is_rolled_out(IMAGES, DEPLOYED, [pod("a")])
    assert not is_rolled_out(IMAGES, [{"status": {"phase": "Deploying"}}], good)
    assert not is_rolled_out(IMAGES, DEPLOYED, [])
    assert not is_rolled_out(IMAGES, [], good)


def test_pods_that_ran_before_their_node_was_started_do_not_count() -> None:
    good = [pod("a"), pod("c", image=CONTROLLER)]
    restart = seconds_of(STARTED) + 1
    assert is_rolled_out(IMAGES, DEPLOYED, without_stale(good, {"n": restart - 60, "other": restart}))
    assert not is_rolled_out(IMAGES, DEPLOYED, without_stale(good, {"n": restart}))


def test_progress_names_what_is_not_ready_and_why() -> None:
    phase, lines = summary(DEPLOYED, [pod("a"), pod("b", ready=False, restarts=2, waiting="CrashLoopBackOff")])
    assert phase == "Deployed"
    assert lines == ("b: CrashLoopBackOff, 2 restarts",)


def test_a_pod_that_crashes_again_and_again_ends_the_wait_but_one_restart_does_not() -> None:
    assert crashed(IMAGES, [pod("a", ready=False, restarts=1)]) == []
    assert crashed(IMAGES, [pod("a", ready=True, restarts=9)]) == []
    assert crashed(IMAGES, [pod("a", ready=False, restarts=3)]) == [("a", "main")]


def test_crashes_of_an_earlier_image_do_not_end_the_wait_for_its_replacement() -> None:
    assert crashed(IMAGES, [pod("a", image=OLD, ready=False, restarts=9)]) == []


def test_a_node_that_is_lost_for_long_ends_the_wait() -> None:
    """Its agent cannot be replaced, and the others wait for that."""
    nodes = [{"metadata": {"name": "n"}, "status": {"conditions": [
        {"type": "Ready", "status": "Unknown", "lastTransitionTime": STARTED}]}}]
    elsewhere: dict[str, Any] = {"metadata": {"name": "b"}, "spec": {"nodeName": "other"}}
    pods = [pod("a"), elsewhere, {**elsewhere, "spec": {}}]
    at = seconds_of(STARTED)
    assert lost(nodes, pods, at, at + 60) == []
    assert lost(nodes, pods, at, at + 600) == [("n", "a")]
    assert lost(nodes, pods, at + 550, at + 600) == [], "it may have been started with the others just now"
    nodes[0]["status"] = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": STARTED}]}
    assert lost(nodes, pods, at, at + 600) == []


def test_the_log_of_a_container_that_has_just_died_again_is_asked_for_again() -> None:
    answers = ["unable to retrieve container logs for containerd://0", "broken"]
    assert last_words(lambda: answers.pop(0)) == "broken"
