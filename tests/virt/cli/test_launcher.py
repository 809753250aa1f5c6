"""What every launcher pod pays for."""

import subprocess
import sys

# Each of them is some MiB in every launcher. The API's types belong to the process that drafts a domain and ends.
DEAR = ("_hashlib", "_ssl", "aiohttp", "httpx2", "lightkube", "hypothesis", "lxml", "virt.api.v1")


def test_a_launcher_loads_nothing_dear() -> None:
    # As virt.cli.launcher does it, without beginning a launcher's life.
    script = (
        "import sys; sys.modules['ssl'] = None; import virt.cli.launcher, virt.launcher.main; "
        f"print([name for name in {DEAR!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]", done.stdout
