"""The layer of an image that a test makes: what is in it, and that the same entries are the same layer."""

import io
import tarfile

from functests.libs.images import Entry, Folder, Link, Pipe, _layer

ENTRIES: dict[str, Entry] = {
    "disk/a.img": b"content", "disk/link": Link("/etc/passwd"), "empty": Folder(), "disk/pipe": Pipe(),
}


def test_each_entry_is_what_it_says() -> None:
    with tarfile.open(fileobj=io.BytesIO(_layer(ENTRIES))) as archive:
        file = archive.extractfile("disk/a.img")
        assert file is not None
        assert file.read() == b"content"
        assert {member.uid for member in archive} == {107}
        assert archive.getmember("disk/link").linkname == "/etc/passwd"
        assert (archive.getmember("empty").isdir(), archive.getmember("disk/pipe").isfifo()) == (True, True)


def test_the_same_entries_make_the_same_layer() -> None:
    assert _layer(ENTRIES) == _layer(dict(reversed(ENTRIES.items())))
