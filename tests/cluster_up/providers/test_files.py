"""Files that reach a node through a shell."""

import subprocess
from pathlib import Path

from cluster_up.providers import files


def test_files_are_written_as_they_are(tmp_path: Path) -> None:
    text = b"a 'b' \"$c\"\n"
    subprocess.run(["sh", "-euc", files.script({str(tmp_path / "new" / "file"): text})], check=True, timeout=20)
    assert (tmp_path / "new" / "file").read_bytes() == text
