"""Differences as patches, against an independent implementation that applies them."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.patches import patched
from virt.api import jsonpatch

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "a/b", "~"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "a/b", "~c"]), inner, max_size=3),
    max_leaves=12,
)
_DOCUMENTS = st.dictionaries(st.sampled_from(["x", "a/b", "~c"]), _JSON, max_size=3)


@given(_DOCUMENTS, _DOCUMENTS)
def test_the_patch_turns_one_into_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert patched(old, jsonpatch.difference(old, new)) == new


@given(_DOCUMENTS)
def test_nothing_to_do_is_an_empty_patch(document: dict[str, Any]) -> None:
    assert jsonpatch.difference(document, document) == ()


def test_true_is_not_one() -> None:
    assert jsonpatch.difference({"a": 1}, {"a": True}) == ({"op": "replace", "path": "/a", "value": True},)


def test_a_longer_list_is_added_to() -> None:
    operations = jsonpatch.difference({"a": [{"x": 1, "kept": 1}]}, {"a": [{"x": 2, "kept": 1}, 5]})
    assert operations == (
        {"op": "replace", "path": "/a/0/x", "value": 2},
        {"op": "add", "path": "/a/-", "value": 5},
    )


def test_pointers_are_escaped() -> None:
    assert jsonpatch.pointer("metadata", "labels", "a/b~c", 0) == "/metadata/labels/a~1b~0c/0"


@pytest.mark.parametrize(("document", "patch", "result"), [
    ({"a": "b"}, {"a": "c", "b": "d"}, {"a": "c", "b": "d"}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "foo"}, None, None),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
])
def test_a_merge_is_that_of_the_rfc(document: Any, patch: Any, result: Any) -> None:
    """The examples of RFC 7386, appendix A."""
    before = copy.deepcopy((document, patch))
    assert jsonpatch.merged(document, patch) == result
    assert (document, patch) == before
