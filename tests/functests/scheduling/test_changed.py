"""Which tests a change affects."""

from functests.scheduling.changed import affected

SOURCES = {
    "functests/libs/deep.py": "import json\n",
    "functests/libs/middle.py": "from functests.libs import deep\n",
    "functests/console/test_a.py": "from functests.libs.middle import thing\n",
    "functests/storage/test_b.py": "import json\n",
    "functests/admission/test_c.py": "",
}


def test_a_test_file_affects_itself() -> None:
    assert affected(["functests/storage/test_b.py"], SOURCES) == ["functests/storage/test_b.py"]


def test_a_helper_affects_all_that_use_it_over_others() -> None:
    assert affected(["functests/libs/deep.py"], SOURCES) == ["functests/console/test_a.py"]


def test_product_code_affects_its_areas_and_its_base_everything() -> None:
    assert affected(["virt/webhooks/vmi.py"], SOURCES) == ["functests/admission/test_c.py"]
    assert len(affected(["virt/base/waiting.py"], SOURCES)) == 3


def test_what_no_test_sees_affects_none() -> None:
    assert affected(["README.md", "tests/virt/test_x.py"], SOURCES) == []
