"""A guest that writes records to a disk all the time, each synced, and the proof that none is missing or torn.

A record is a block of 512 bytes that holds its own number in text; numbers count from 0, and a block never repeats. The
guest's caches are dropped before they are read, so the disk itself answers.
"""

import base64

from functests.libs.console import Console

_WRITER = """i=0
while [ $i -lt MOST ]; do
  printf '%0511d\\n' $i | dd of=/dev/vda bs=512 seek=$i conv=notrunc,fsync 2>/dev/null || touch /run/failed
  i=$((i+1))
  echo $i > /run/written.new && mv /run/written.new /run/written
done
"""


def begin(shell: Console, device: str = "vda", *, most: int = 20_000) -> None:
    """Write from now on, up to so many records; 20000 are 10 MiB."""
    script = base64.b64encode(_WRITER.replace("vda", device).replace("MOST", str(most)).encode()).decode()
    shell.succeed(f"echo {script} | base64 -d > /run/writer")
    shell.succeed("{ setsid sh /run/writer > /dev/null 2>&1 < /dev/null & }")


def check(shell: Console, device: str = "vda") -> int:
    """How many there are; all of them are whole and none is missing, and the writer saw no error."""
    count = int(shell.succeed("cat /run/written"))
    assert count > 0, "not one record was written"
    assert shell.run("test -e /run/failed").code == 1, "the writer saw an error"
    counted = (
        "echo 3 > /proc/sys/vm/drop_caches; "
        f"dd if=/dev/{device} bs=512 count={count} 2>/dev/null | "
        "awk '{if ($1+0 != NR-1) bad++} END {print NR, bad+0}'"
    )
    assert shell.succeed(counted, within_s=60 + count / 500) == f"{count} 0"
    return count
