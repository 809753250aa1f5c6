"""``python -m functests.verdict``: the last run's summary and the place of its page; opens it on a desktop."""

import os
import sys
import webbrowser
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "artifacts"


def main() -> int:
    page = FOLDER / "verdict.html"
    if not page.exists():
        print(f"no functional run was judged here yet, there is no {page}: make functest", file=sys.stderr)
        return 1
    print((FOLDER / "summary.md").read_text())
    print(page)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page.as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
