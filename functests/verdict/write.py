"""All files of a verdict, after it has been compared with the history and added to it."""

from pathlib import Path

import msgspec

from functests.verdict import junit, page, summary
from functests.verdict.history import History, file
from functests.verdict.records import BAD, Verdict


def judged(verdict: Verdict, history: History) -> Verdict:
    """With what earlier runs say about its failures; this run is in the rates already."""
    seen = history.seen(test.fingerprint for test in verdict.tests if test.fingerprint)
    tests = tuple(
        msgspec.structs.replace(test, seen_before=seen.get(test.fingerprint, 0)) if test.outcome in BAD else test
        for test in verdict.tests
    )
    history.add(verdict)
    return msgspec.structs.replace(verdict, tests=tests, flakes=tuple(history.flakes(tests)))


def all_of(verdict: Verdict, folder: Path, history: History | None = None) -> tuple[Path, Verdict]:
    """Writes verdict.json, verdict.html, junit.xml and summary.md; returns the page and what it says."""
    try:
        full = judged(verdict, history or History(file()))
    except Exception as error:  # noqa: BLE001 - a broken history must not cost the verdict
        full = msgspec.structs.replace(verdict, notes=(*verdict.notes, f"no history: {type(error).__name__}: {error}"))
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "verdict.json": msgspec.json.format(msgspec.json.encode(full), indent=1).decode(),
        "junit.xml": junit.document(full),
        "summary.md": summary.document(full),
        "verdict.html": page.document(full),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder / "verdict.html", full
