"""Which engine will do, and what one is told that we start."""

from pathlib import Path

import pytest

from cluster_up import engine
from cluster_up import exec as host
from cluster_up.engine import daemon_config, lacks_capabilities, unfit
from cluster_up.errors import EngineHung


@pytest.mark.parametrize(
    ("bounding", "lacks"),
    [("000001ffffffffff", False), ("000001fffeffffff", True), ("0000000000000000", True), ("ffffffffffffffff", False)],
)
def test_a_missing_capability_is_seen(bounding: str, lacks: bool) -> None:
    assert lacks_capabilities(f"Name:\tx\nCapEff:\t0\nCapBnd:\t{bounding}\n") is lacks


def test_plain_runc_will_not_do_where_capabilities_are_missing() -> None:
    info = {"ServerVersion": "28.0.1", "DefaultRuntime": "runc"}
    assert unfit(info, wrapper_needed=False) is None
    assert "capabilities" in str(unfit(info, wrapper_needed=True))
    assert unfit({**info, "DefaultRuntime": "capbnd"}, wrapper_needed=True) is None


def test_an_old_engine_is_refused_with_its_version() -> None:
    assert "18.09.1 is too old" in str(unfit({"ServerVersion": "18.09.1"}, wrapper_needed=False))


def test_a_machine_that_lacks_nothing_gets_dockers_defaults() -> None:
    assert daemon_config(wrapper=None, has_systemd=True) == {}
    config = daemon_config(wrapper=Path("/x/capbnd"), has_systemd=False)
    assert config["default-runtime"] == "capbnd"
    assert config["exec-opts"] == ["native.cgroupdriver=cgroupfs"]


class Hung:
    """Takes the request and never answers."""

    def __init__(self, *, timed_out: bool) -> None:
        self.timed_out = timed_out

    def run(self, argv: list[str], **_: object) -> host.Result:
        raise host.RunError(host.Result(tuple(argv), "/", -9, "", "", 10.0), timed_out=self.timed_out)


def test_an_engine_that_does_not_answer_is_said_at_once_and_no_second_one_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "run", Hung(timed_out=True).run)
    monkeypatch.setattr(engine, "start_own", lambda *args, **words: pytest.fail("started"))
    for action in (engine.fault, lambda: engine.start(lambda line: None)):
        with pytest.raises(EngineHung, match="does not answer within"):
            action()


def test_a_missing_engine_is_a_reason_and_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "run", Hung(timed_out=False).run)
    assert "not installed" in str(engine.fault())
