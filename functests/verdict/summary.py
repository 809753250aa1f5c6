"""The verdict in a few lines of Markdown, as GitHub shows it beside a job."""

from collections import Counter

from functests.verdict.records import BAD, SKIPPED, Test, Verdict

ORDER = ("passed", "failed", "leaked", "crashed", "lost", "skipped")


def counts(verdict: Verdict) -> str:
    number = Counter(test.outcome for test in verdict.tests)
    said = [f"{number[outcome]} {outcome}" for outcome in ORDER if number[outcome]]
    said += [f"{len(verdict.collect_errors)} not collected"] if verdict.collect_errors else []
    said += [f"{len(verdict.orphans)} orphans"] if verdict.orphans else []
    return ", ".join(said) or "no tests"


def age(test: Test) -> str:
    return f"seen {test.seen_before}×" if test.seen_before else "new"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


def pool(verdict: Verdict) -> str:
    """One line on the guests that tests borrowed; "" when none did."""
    used = [test for test in verdict.tests if test.warm]
    if not used:
        return ""
    boots = len(used) - verdict.saved
    return f"warm guests: tests {len(used)}, boots {boots}, saved {verdict.saved}, thrown away {len(thrown(verdict))}"


def thrown(verdict: Verdict) -> list[tuple[str, str]]:
    """Tests that left their guest otherwise than they found it, and how."""
    return [(test.id, test.changed) for test in verdict.tests if test.changed]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:200]


def document(verdict: Verdict) -> str:
    lines = [
        f"## {'Good' if verdict.good else 'Not good'}: {counts(verdict)}",
        "",
        f"Cluster `{verdict.cluster or '?'}`, source `{verdict.revision or '?'}`, {verdict.workers} workers, "
        f"{minutes(verdict.seconds)}, exit status {verdict.exit_status}.",
    ]
    bad = verdict.of(*BAD)
    if bad:
        lines += ["", "| test | case | outcome | fingerprint | error |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| `{_cell(test.id)}` | {test.case} | {test.outcome} | `{test.fingerprint}` {age(test)} | "
            f"{_cell(test.headline)} |"
            for test in bad
        ]
    for title, entries in {
        "Faults of the run": [_cell(fault) for fault in verdict.faults],
        "Not collected": [f"`{name}`" for name in verdict.collect_errors],
        "Left behind": [f"{orphan.item}: by one of {', '.join(orphan.tests) or '?'}" for orphan in verdict.orphans],
        "Retried": [f"`{test.id}`: {'; '.join(test.retries)}" for test in verdict.tests if test.retries],
        "Flaking (more than 1 %)": [
            f"`{flake.test}`: {flake.bad} of {flake.runs}" + (", at the same source too" if flake.mixed else "")
            for flake in verdict.flakes
        ],
        "Guests thrown away": [f"`{name}`: {_cell(how)}" for name, how in thrown(verdict)],
        "Notes": [*filter(None, [pool(verdict)]), *verdict.notes],
    }.items():
        if entries:
            lines += ["", f"**{title}**", "", *(f"- {entry}" for entry in entries)]
    skipped = Counter(test.reason for test in verdict.of(SKIPPED))
    if skipped:
        lines += ["", "**Skipped**", "", *(f"- {count} × {reason}" for reason, count in skipped.most_common())]
    slow = sorted(verdict.tests, key=lambda test: -test.seconds)[:5]
    lines += ["", "**Slowest**", "", *(f"- {minutes(test.seconds)} `{test.id}`" for test in slow)]
    return "\n".join(lines) + "\n"
