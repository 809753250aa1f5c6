"""What every launcher pod pays for."""

import subprocess
import sys

# Each of them is some MiB in every launcher.
DEAR = ("_hashlib", "_ssl", "aiohttp", "httpx2", "lightkube", "hypothesis")


def test_a_launcher_loads_nothing_dear() -> None:
    script = f"import sys, virt.cli.launcher; print([name for name in {DEAR!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]", done.stdout
