"""The same failure, said the same way: an error without what changes from run to run.

The fingerprint is what history and people compare; it is made of the kind of the error, its first lines and the test's
function, never of the line in a file, which moves with every edit.
"""

import hashlib
import re

_CHANGING = (
    (re.compile(r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}"), "<uid>"),
    (re.compile(r"\bft-[a-z0-9-]+-[0-9a-f]{6}\b"), "<namespace>"),
    (re.compile(r"\b(virt-[a-z]+(?:-[a-z0-9]+)*?)-(?:[a-z0-9]{8,10}-)?[a-z0-9]{5}\b"), r"\1-<pod>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<mac>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "<number>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b"), "<hex>"),
    (re.compile(r"(?<![A-Za-z_-])-?\d+(?:\.\d+)?"), "<number>"),
    (re.compile(r"/tmp/[^\s'\"]+"), "<temporary>"),
)
LINES = 3


def headline(error: str) -> str:
    """The line that says what went wrong: the first that pytest marks with E, else the last."""
    marked = [line[1:].strip() for line in error.splitlines() if re.match(r"E\s", line)]
    plain = [line.strip() for line in error.splitlines() if line.strip()]
    return (marked or plain[-1:] or [""])[0]


def normalized(error: str) -> str:
    """The error's first marked lines, with names of the run's own taken out."""
    marked = [line[1:].strip() for line in error.splitlines() if re.match(r"E\s", line)]
    lines = marked[:LINES] or [headline(error)]
    text = "\n".join(line[:300] for line in lines)
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text


def fingerprint(test: str, error: str) -> str:
    function = re.sub(r"\[.*", "", test)
    return hashlib.sha256(f"{function}\n{normalized(error)}".encode()).hexdigest()[:12]
