"""verdict.html: one page that needs nothing else. What is wrong comes first, then how the run went."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from functests.verdict import charts
from functests.verdict.records import BAD, PASSED, SKIPPED, Test, Verdict
from functests.verdict.summary import age, counts, minutes, pool, thrown

SLOWEST = 10
STYLE = Path(__file__).with_name("page.css").read_text()


def _table(heads: Iterable[tuple[str, str]], rows: Iterable[Iterable[str]]) -> str:
    """``heads``: (title, class of the column); cells are HTML."""
    columns = list(heads)
    head = "".join(f'<th class="{kind}">{escape(title)}</th>' for title, kind in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(columns, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}" if body else ""


def _list(entries: Iterable[str]) -> str:
    found = list(entries)
    return "<ul>" + "".join(f"<li>{entry}</li>" for entry in found) + "</ul>" if found else ""


def _failure(test: Test) -> str:
    links = [f'<a href="{escape(test.evidence)}/index.html">evidence</a>'] if test.evidence else []
    facts = [
        f'<b class="bad">{test.outcome}</b>', escape(test.case), f"<code>{test.fingerprint}</code> {age(test)}",
        minutes(test.seconds), escape(test.worker), *links,
    ]
    leak = f"<pre>{escape(test.leak)}</pre>" if test.leak and test.leak not in test.error else ""
    return (
        f"<article><h3>{escape(test.id)}</h3><div class='soft'>{' · '.join(fact for fact in facts if fact)}</div>"
        f"<pre>{escape(test.headline)}</pre>{leak}"
        f"<details><summary>the whole error</summary><pre>{escape(test.error)}</pre></details></article>"
    )


def _keys(nodes: Iterable[str]) -> str:
    return "<p>" + "".join(
        '<span class="key"><svg viewBox="0 0 22 8">'
        f'<line class="line l{number % 6}" x1="0" y1="4" x2="22" y2="4"/></svg>'
        f"{escape(node)}</span>"
        for number, node in enumerate(sorted(set(nodes)))
    ) + "</p>"


def _course(verdict: Verdict) -> str:
    """How the run went: what was sampled of guests and nodes."""
    span = (verdict.started, verdict.seconds)
    parts = []
    if verdict.guests:
        keys = '<p class="soft">A bar is pale until its guest runs.</p>'
        parts.append(_section("Guests on each node", charts.timeline(verdict.guests, *span) + keys))
    values = sorted(value for test in verdict.tests for value in test.boots)
    if values:
        middle = values[len(values) // 2]
        text = f"{len(values)} guests, creation to shell: {values[0]:.1f} to {values[-1]:.1f} s, middle {middle:.1f} s."
        parts.append(_section("Boot times", f'<p class="soft">{text}</p>' + charts.boots(verdict.tests, *span)))
    if verdict.memory:
        chart = charts.memory(verdict.memory, *span) + _keys(sample.node for sample in verdict.memory)
        parts.append(_section("Memory of the nodes", chart))
    if verdict.sampling:
        parts.append(f'<p class="warn">Sampling: {escape(verdict.sampling)}</p>')
    return "".join(parts)


def document(verdict: Verdict) -> str:
    bad = verdict.of(*BAD)
    skipped = Counter(test.reason for test in verdict.of(SKIPPED))
    begun = f"{datetime.fromtimestamp(verdict.started, UTC):%Y-%m-%d %H:%M} UTC"
    facts = [
        f"cluster {verdict.cluster or '?'}", f"source {verdict.revision or '?'}", f"{verdict.workers} workers", begun,
        minutes(verdict.seconds), f"exit status {verdict.exit_status}",
    ]
    word, kind = ("Good", "good") if verdict.good else ("Not good", "bad")
    slow = sorted(verdict.tests, key=lambda test: -test.seconds)[:SLOWEST]
    costs = [test.ledger_s for test in verdict.tests if test.ledger_s]
    sections = [
        "".join(_failure(test) for test in bad),
        _section("Faults of the run", _list(escape(fault) for fault in verdict.faults)),
        _section("Not collected", "".join(
            f"<article><h3>{escape(name)}</h3><pre>{escape(text)}</pre></article>"
            for name, text in verdict.collect_errors.items())),
        _section("Left behind by one of several tests", _list(
            f"{escape(orphan.item)}<br><span class='soft'>{escape(', '.join(orphan.tests) or 'unknown')}</span>"
            for orphan in verdict.orphans)),
        _section("Retried", _list(
            f"<code>{escape(test.id)}</code>: {escape('; '.join(test.retries))}"
            for test in verdict.tests if test.retries)),
        _section("Flaking: good at times, bad in more than 1 % of the runs", _table(
            (("test", ""), ("rate", "n"), ("bad / runs", "n"), ("same source", "n")),
            ((escape(flake.test), f"{flake.rate:.1%}", f"{flake.bad} / {flake.runs}", "yes" if flake.mixed else "")
             for flake in verdict.flakes)) if verdict.flakes else ""),
        _section("Warm guests", f"<p>{escape(pool(verdict))}</p>" + _list(
            f"<code>{escape(name)}</code><pre>{escape(how)}</pre>" for name, how in thrown(verdict)
        ) if pool(verdict) else ""),
        _section("Notes", _list(escape(note) for note in verdict.notes)),
        _section("Skipped", _list(f"{count} × {escape(reason)}" for reason, count in skipped.most_common())),
        _section("Slowest", _table(
            (("test", ""), ("case", "w"), ("outcome", "w"), ("time", "n")),
            ((escape(test.id), escape(test.case), test.outcome, minutes(test.seconds)) for test in slow))),
        _course(verdict),
        _section("Cost of the ledger", f"<p>{sum(costs) / len(costs):.2f} s per test on average, {max(costs):.2f} s at"
                 f" most; waiting for things to go away took {sum(test.settled_s for test in verdict.tests):.0f} s in"
                 " all.</p>" if costs else ""),
        _section("All tests", "<details><summary>" + str(len(verdict.tests)) + " tests</summary>" + _table(
            (("test", ""), ("case", "w"), ("outcome", "w"), ("time", "n")),
            ((escape(test.id), escape(test.case),
              f'<span class="{"good" if test.outcome == PASSED else "bad" if test.outcome in BAD else "soft"}">'
              f"{test.outcome}</span>", f"{test.seconds:.1f} s")
             for test in verdict.tests)) + "</details>"),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{word}: {escape(counts(verdict))}</title><style>{STYLE}</style><main>"
        f'<h1><span class="{kind}">{word}</span>: {escape(counts(verdict))}</h1>'
        f'<p class="sub">{escape(" · ".join(facts))}<br><code>{escape(verdict.command)}</code></p>'
        f"{''.join(sections)}</main></html>\n"
    )
