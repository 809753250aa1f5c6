"""index.html of a failure: its error, how to run it again, pictures, the consoles' ends, and every file."""

import re
from html import escape
from pathlib import Path

STYLE = (Path(__file__).parents[1] / "verdict" / "page.css").read_text()
TAIL_LINES = 40
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What a reader opens first comes first.
_ORDER = ("console-", "serial-", "events.txt", "domain-", "qemu-", "libvirt-", "virtual", "pods", "log-", "network-")


def _place(path: Path) -> tuple[int, str]:
    found = [number for number, start in enumerate(_ORDER) if path.name.startswith(start)]
    return (found[0] if found else len(_ORDER), path.name)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size} B" if size < 1000 else f"{size / 1024:.0f} KiB"


def _tail(path: Path) -> str:
    text = _ESCAPES.sub("", path.read_text(errors="replace").replace("\r", ""))
    lines = text.splitlines()[-TAIL_LINES:]
    return f"<h2>{escape(path.name)}</h2><pre>{escape(chr(10).join(lines))}</pre>" if lines else ""


def document(
    folder: Path, test_id: str, failure: str, *, rerun: str, problems: list[str], seconds: float
) -> str:
    files = sorted((path for path in folder.iterdir() if path.name != "index.html"), key=_place)
    marked = [line[1:].strip() for line in failure.splitlines() if line.startswith("E ")]
    pictures = "".join(
        f'<figure><img src="{escape(path.name)}" alt="screen of a guest"><figcaption class="soft">{escape(path.name)}'
        "</figcaption></figure>"
        for path in files
        if path.suffix == ".png"
    )
    rows = "".join(
        f'<tr><td><a href="{escape(path.name)}">{escape(path.name)}</a></td><td class="n">{_size(path)}</td></tr>'
        for path in files
    )
    tails = "".join(_tail(path) for path in files if path.name.startswith("console-"))
    missing = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(test_id)}</title><style>{STYLE}</style><main>"
        f'<h1>{escape(test_id.rsplit("::", 1)[-1])}</h1>'
        f'<p class="sub">{escape(test_id)}<br>collected in {seconds:.1f} s</p>'
        f"<pre>{escape(chr(10).join(marked[:30]) or failure[-2000:])}</pre>"
        f"<h2>Run it again</h2><pre>{escape(rerun.strip())}</pre>{pictures}{tails}"
        f"<h2>Files</h2><table><tbody>{rows}</tbody></table>"
        + (f"<h2>Not collected</h2><ul>{missing}</ul>" if missing else "")
        + f"<h2>The whole error</h2><details><summary>show</summary><pre>{escape(failure)}</pre></details>"
        "</main></html>\n"
    )
