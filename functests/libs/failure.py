"""How a test's failure reaches its fixtures: the text is stashed on the test before teardown begins."""

import pytest

FAILURE = pytest.StashKey[str]()

EVIDENCE = "FUNCTEST_EVIDENCE"          # 0: a failure leaves no folder
