"""What guests have of functions, through the end of a handler."""

from pathlib import Path

from virt.handler.pci.lent import FILE, Lent


def test_the_next_handler_knows(tmp_path: Path) -> None:
    lent = Lent(tmp_path)
    for address in ("a", "b", "c"):
        lent.add(address)
    lent.discard("a")
    lent.keep({"b", "x"})
    assert Lent(tmp_path).addresses == lent.addresses == {"b"}
    lent.discard("b")
    assert list(tmp_path.iterdir()) == [], "nothing is left on the node of a function that is free"
    assert Lent(tmp_path).addresses == frozenset()


def test_a_file_that_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert Lent(tmp_path).addresses == frozenset()


def test_what_cannot_be_written_is_known_all_the_same(tmp_path: Path) -> None:
    lent = Lent(tmp_path / "nothing")
    lent.add("a")
    assert lent.addresses == {"a"}
