"""When the stack counts as rolled out, and when waiting is useless."""

from typing import Any

from cluster_up.actions.rollout import crashed, is_rolled_out, summary

IMAGE = "localhost:5001/virt:new"


def pod(name: str, *, image: str = IMAGE, ready: bool = True, restarts: int = 0, waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    status = {"name": "main", "ready": ready, "restartCount": restarts, "state": state}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


DEPLOYED = [{"status": {"phase": "Deployed"}}]


def test_rolled_out_means_deployed_with_every_pod_ready_on_the_newest_image() -> None:
    assert is_rolled_out(IMAGE, DEPLOYED, [pod("a"), pod("b")])
    assert not is_rolled_out(IMAGE, DEPLOYED, [pod("a"), pod("b", image="localhost:5001/virt:old")])
    assert not is_rolled_out(IMAGE, DEPLOYED, [pod("a", ready=False)])
    assert not is_rolled_out(IMAGE, [{"status": {"phase": "Deploying"}}], [pod("a")])
    assert not is_rolled_out(IMAGE, DEPLOYED, [])
    assert not is_rolled_out(IMAGE, [], [pod("a")])


def test_progress_names_what_is_not_ready_and_why() -> None:
    phase, lines = summary(DEPLOYED, [pod("a"), pod("b", ready=False, restarts=2, waiting="CrashLoopBackOff")])
    assert phase == "Deployed"
    assert lines == ("b: CrashLoopBackOff, 2 restarts",)


def test_a_pod_that_crashes_again_and_again_ends_the_wait_but_one_restart_does_not() -> None:
    assert crashed(IMAGE, [pod("a", ready=False, restarts=1)]) == []
    assert crashed(IMAGE, [pod("a", ready=True, restarts=9)]) == []
    assert crashed(IMAGE, [pod("a", ready=False, restarts=3)]) == [("a", "main")]


def test_crashes_of_an_earlier_image_do_not_end_the_wait_for_its_replacement() -> None:
    assert crashed(IMAGE, [pod("a", image="localhost:5001/virt:old", ready=False, restarts=9)]) == []
