from functests.libs.showing import shown

POD = {
    "kind": "Pod", "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}, "spec": {"nodeName": "n"},
    "status": {"phase": "Failed"},
}


def test_the_status_comes_first_and_the_history_of_fields_not_at_all() -> None:
    assert shown(POD) == (
        "{'status': {'phase': 'Failed'}, 'metadata': {'name': 'a'}, 'kind': 'Pod', 'spec': {'nodeName': 'n'}}")
    assert POD["metadata"] == {"name": "a", "managedFields": [{"manager": "x"}]}


def test_what_is_no_object_is_shown_as_it_is() -> None:
    assert [shown(each) for each in (None, (429, "busy"), [POD["status"]], {"metadata": "none"})] == [
        "None", "(429, 'busy')", "[{'phase': 'Failed'}]", "{'metadata': 'none'}"]
