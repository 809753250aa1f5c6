"""Files for a node, as the shell script that writes them there. Pure."""

import base64
from collections.abc import Mapping


def script(contents: Mapping[str, bytes]) -> str:
    """Writes ``contents``, by path; folders that are missing are made."""
    return "".join(
        f"mkdir -p $(dirname {path})\necho {base64.b64encode(data).decode()} | base64 -d > {path}\n"
        for path, data in contents.items()
    )
