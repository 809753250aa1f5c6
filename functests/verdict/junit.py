"""The verdict as JUnit XML, for CI servers: what leaked, crashed or was lost is an error, what failed a failure."""

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from functests.verdict.records import BAD, FAILED, SKIPPED, Test, Verdict

# Characters that XML 1.0 cannot hold, as a guest's console may well print.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(text: str) -> str:
    return _FORBIDDEN.sub("�", text)


def _case(parent: ElementTree.Element, test: Test) -> None:
    path, _, name = test.id.partition("::")
    element = ElementTree.SubElement(
        parent, "testcase",
        {"classname": path.removesuffix(".py").replace("/", "."), "name": _text(name or path),
         "time": f"{test.seconds:.2f}"},
    )
    known = {"case": test.case, "fingerprint": test.fingerprint, "evidence": test.evidence}
    if any(known.values()):
        properties = ElementTree.SubElement(element, "properties")
        for key, value in known.items():
            if value:
                ElementTree.SubElement(properties, "property", {"name": key, "value": value})
    if test.outcome == SKIPPED:
        ElementTree.SubElement(element, "skipped", {"message": _text(test.reason)})
    elif test.outcome in BAD:
        kind = "failure" if test.outcome == FAILED else "error"
        message = f"{test.outcome}: {test.headline}" if kind == "error" else test.headline
        ElementTree.SubElement(element, kind, {"message": _text(message)}).text = _text(test.error)


def document(verdict: Verdict) -> str:
    errors = [test for test in verdict.of(*BAD) if test.outcome != FAILED]
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": "functests", "tests": str(len(verdict.tests)), "failures": str(len(verdict.of(FAILED))),
            "errors": str(len(errors) + len(verdict.collect_errors) + len(verdict.orphans) + len(verdict.faults)),
            "skipped": str(len(verdict.of(SKIPPED))), "time": f"{verdict.seconds:.1f}",
            "timestamp": datetime.fromtimestamp(verdict.started, UTC).isoformat(timespec="seconds"),
        },
    )
    for test in verdict.tests:
        _case(suite, test)
    for name, text in verdict.collect_errors.items():
        element = ElementTree.SubElement(suite, "testcase", {"classname": "collection", "name": name, "time": "0"})
        ElementTree.SubElement(element, "error", {"message": "cannot be collected"}).text = _text(text)
    for fault in verdict.faults:
        element = ElementTree.SubElement(suite, "testcase", {"classname": "run", "name": _text(fault), "time": "0"})
        ElementTree.SubElement(element, "error", {"message": _text(fault)})
    for orphan in verdict.orphans:
        element = ElementTree.SubElement(suite, "testcase", {"classname": "ledger", "name": orphan.item, "time": "0"})
        ElementTree.SubElement(element, "error", {"message": "left behind"}).text = "\n".join(orphan.tests)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
