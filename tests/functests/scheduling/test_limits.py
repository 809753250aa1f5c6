"""The limit of time of a functional test, as the root conftest sets it and pytest-timeout keeps it."""

from pathlib import Path

import pytest

from functests.libs import turns

ROOT = Path(__file__).parents[3]
# The root conftest, for functional tests that are elsewhere.
CONFTEST = f"""
import importlib.util
from pathlib import Path
import pytest
spec = importlib.util.spec_from_file_location("root_conftest", {str(ROOT / "conftest.py")!r})
root = importlib.util.module_from_spec(spec)
spec.loader.exec_module(root)
root.FUNCTESTS = Path(__file__).parent / "functests"
pytest_collection_modifyitems = root.pytest_collection_modifyitems
pytest_runtest_protocol = root.pytest_runtest_protocol
pytest_runtest_makereport = root.pytest_runtest_makereport
"""
TESTS = """
import time, pytest
@pytest.mark.timeout(0.4)
def test_waits(): time.sleep(0.6)
def test_plain(request):
    limits = [mark.args[0] for mark in request.node.iter_markers("timeout")]
    assert limits[-1] == 420, "what it has"
    assert limits[0] == float(__import__("os").environ["FUNCTEST_BOOT_S"]) / 6 * 420, "what it gets"
"""


@pytest.mark.parametrize(("boot", "failed"), [("6", 1), ("12", 0)])
def test_it_grows_with_the_boot(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, boot: str, failed: int
) -> None:
    monkeypatch.setenv("FUNCTEST_BOOT_S", boot)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(turns, "_file", lambda what: pytester.path / what)       # nobody's turn is taken
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n  timeout(seconds): x\n")
    (pytester.path / "functests").mkdir()
    (pytester.path / "functests" / "test_it.py").write_text(TESTS)
    result = pytester.runpytest_inprocess("functests", "-p", "no:cacheprovider", "-p", "pytest_timeout")
    result.assert_outcomes(passed=2 - failed, failed=failed)
    assert ("Timeout (>0.4s)" in result.stdout.str()) is bool(failed)
