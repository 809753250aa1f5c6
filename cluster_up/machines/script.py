"""A script for a shell that is reached by a stream, and its output out of what the stream brought. Pure."""

import base64


def framed(script: str, mark: str) -> str:
    """What the shell reads. The script has nothing on its standard input; its errors stand in its output.

    Encoded, since a shell reads its own input byte by byte and a script may be anything.
    """
    packed = base64.b64encode(script.encode()).decode()
    lines = [f"f=$(mktemp); echo {packed} | base64 -d > $f", f"echo {mark}; sh -eu $f </dev/null 2>&1; code=$?"]
    return "\n".join([*lines, f"rm -f $f; printf '\\n%s %d\\n' {mark} $code; exit", ""])


def read(said: str, mark: str) -> tuple[int, str]:
    """Exit status and output; status 255 where the stream ended before the script.

    >>> read("ab\\nhello\\nab 3\\n", "ab")
    (3, 'hello')
    """
    _, begin, rest = said.partition(f"{mark}\n")
    output, end, code = rest.rpartition(f"\n{mark} ")
    if not begin or not end or not code.strip().isdigit():
        return 255, rest if begin else said
    return int(code), output
