"""``python3 -m virt.cli.launcher``: the command of a launcher pod's container ``compute``.

As PID 1 it becomes the reaping parent (virt/launcher/helpers/launcher-init.c) of a second start of itself.
"""

import os
import sys

from virt.api import names


def main() -> int:
    if os.getpid() == 1:
        init = names.LAUNCHER_INIT_HELPER
        os.execv(init, [init, sys.executable, "-m", "virt.cli.launcher", *sys.argv[1:]])
    # asyncio would load OpenSSL, megabytes that nothing here uses; it does without what cannot be imported.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    from virt.launcher.main import main as launch

    return launch()


if __name__ == "__main__":
    sys.exit(main())
