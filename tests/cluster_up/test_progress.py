"""What a person sees where there is no terminal."""

from io import StringIO

from rich.console import Console

from cluster_up.doctor import graded
from cluster_up.limits import NEEDED, too_low
from cluster_up.progress import Reporter


def test_a_pipe_gets_plain_lines_and_the_log_gets_details() -> None:
    out, log = StringIO(), StringIO()
    report = Reporter(Console(file=out, width=40), log)
    with report.step("step", 12.0):
        report.detail("what it waits for")
    report.skipped("other")
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "what it waits for" not in text
    assert text.splitlines()[0] == "- step (last time 12 s)"
    assert "what it waits for" in log.getvalue()


def test_an_amount_fails_warns_or_is_well() -> None:
    verdicts = [graded("x", amount, "GiB", least=4, good=8, fix="more").verdict for amount in (3, 4, 7, 8)]
    assert verdicts == ["fail", "warn", "warn", "ok"]


def test_only_limits_that_are_too_low_are_raised() -> None:
    name = "fs.inotify.max_user_instances"
    assert too_low({name: 128}) == {name: NEEDED[name]}
    assert too_low({name: NEEDED[name]}) == {}
