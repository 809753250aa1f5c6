"""The formats that a guest is put together from: initrd archive, ELF files, kernel image, disk size."""

import lzma
import struct

import pytest

from cluster_up.images.guests import cpio, disk, elf, kernel


def names(archive: bytes) -> list[str]:
    found: list[str] = []
    place = 0
    while True:
        numbers = [int(archive[place + 6 + 8 * i : place + 14 + 8 * i], 16) for i in range(13)]
        size, length = numbers[6], numbers[11]
        name = archive[place + 110 : place + 110 + length - 1].decode()
        if name == "TRAILER!!!":
            return found
        found.append(name)
        start = (place + 110 + length + 3) // 4 * 4
        place = (start + size + 3) // 4 * 4


def test_an_archive_has_every_folder_before_what_is_in_it() -> None:
    entries = [cpio.file("a/b/file", b"12345"), cpio.symlink("a/link", "b"), cpio.character_device("dev/console", 5, 1)]
    assert names(cpio.archive(entries)) == ["a", "a/b", "a/b/file", "a/link", "dev", "dev/console"]
    assert cpio.archive(entries) == cpio.archive(reversed(entries))


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="named x"):
        cpio.archive([cpio.file("x", b"1"), cpio.file("x", b"2")])


def program(parts: list[tuple[int, int, bytes, int]]) -> bytes:
    """An ELF file with segments (kind, address, content, size in memory), a page apart; a note is inside the first."""
    table, body = b"", b""
    for kind, address, content, size in parts:
        offset = 4096 + len(body)
        table += struct.pack("<IIQQQQQQ", kind, 7, offset, address, address, len(content), size, 4096)
        body += content + bytes(-len(content) % 4096)
    numbers = (2, 62, 1, 0x1000, 64, 99, 0, 64, 56, len(parts), 64, 9, 8)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", *numbers)
    return (head + table).ljust(4096, b"\0") + body


def test_a_loadable_kernel_loses_zeros_and_sections_but_no_byte_of_memory() -> None:
    text, data = b"text" * 2000, b"data" + bytes(20000)
    small = elf.loadable(program([(1, 0x1000, text, len(text)), (1, 0x9000, data, len(data))]) + b"sections")
    first, second = elf.segments(small)
    assert small[first.offset : first.offset + first.in_file] == text
    assert small[second.offset : second.offset + second.in_file] == b"data"
    assert (second.in_memory, second.physical) == (len(data), 0x9000)
    assert first.offset % 4096 == second.offset % 4096 == 0
    assert len(small) < 20000


def test_a_note_stays_in_its_segment() -> None:
    image = bytearray(program([(1, 0x1000, b"x" * 100 + b"NOTE" + b"y" * 100, 204), (4, 0x1064, b"", 0)]))
    struct.pack_into("<IIQQQQQQ", image, 64 + 56, 4, 4, 4096 + 100, 0x1064, 0x1064, 4, 4, 4)
    small = elf.loadable(bytes(image))
    note = elf.segments(small)[1]
    assert small[note.offset : note.offset + note.in_file] == b"NOTE"


def test_what_is_no_elf_file_is_refused() -> None:
    with pytest.raises(ValueError, match="ELF"):
        elf.needed(b"#!/bin/sh")


def test_the_payload_of_a_kernel_image_is_where_its_header_says() -> None:
    image = bytearray(5 * 512 + 100)
    image[0x1F1] = 4
    struct.pack_into("<II", image, 0x248, 10, 5)
    image[5 * 512 + 10 : 5 * 512 + 15] = b"hello"
    assert kernel.payload(bytes(image)) == b"hello"


def test_a_module_loses_its_signature() -> None:
    signature = b"s" * 50
    signed = b"code" + signature + bytes(8) + struct.pack(">I", len(signature)) + b"~Module signature appended~\n"
    assert kernel.module(lzma.compress(signed)) == b"code"
    assert kernel.module(lzma.compress(b"code")) == b"code"


def test_modules_come_with_what_they_need() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": [], "d": []}
    assert kernel.closure(["a"], needs) == ["a", "b", "c"]
    with pytest.raises(KeyError):
        kernel.closure(["nothing"], needs)


def test_a_disk_has_room_behind_its_files() -> None:
    assert disk.size_mib(0) * 2**20 > 8 * 2**20
    assert disk.size_mib(32 * 2**20) % 8 == 0


def test_the_cold_plug_table_names_drivers_after_what_they_need() -> None:
    known = {"net": ["virtio:d00000001v*", "fs-net", "acpi*:X:*"], "disk": ["pci:v0000AAAAd*", "virtio:d00000002v*"]}
    table = kernel.coldplug(known, {"net": ["failover"], "failover": [], "disk": []})
    assert table == "virtio:d00000002v* disk\nvirtio:d00000001v* failover net\n"
