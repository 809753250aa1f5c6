"""Errors as a person at the terminal sees them."""

import errno

import pytest

from cluster_up import cli


def test_a_disk_that_got_full_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/state.part")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "a disk is full: [Errno 28] No space left on device: '/somewhere/state.part'" in said
    assert "make room" in said


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cli, "app", denied)
    with pytest.raises(PermissionError):
        cli.main()
