"""The codec: both directions agree for every domain, and no text gets out of its place."""

import types
from dataclasses import dataclass, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from virt.launcher.domain import Domain, DomainXmlError, Element, Metadata, from_xml, to_xml
from virt.launcher.domain.codec import at, dump, load

# XML 1.0 holds no control characters but tab, line feed and carriage return, no surrogates, no U+FFFE and U+FFFF.
TEXT = st.text(st.characters(
    exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r<>&'\"]",
), max_size=20)


def elements(cls: type[Element]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{entry.name: values(hints[entry.name]) for entry in fields(cls)})  # type: ignore[arg-type]


def values(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*(st.none() if option is type(None) else values(option) for option in get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=1).map(tuple)
    if isinstance(hint, type) and issubclass(hint, Element):
        return elements(hint)
    return {str: TEXT, int: st.integers(), bool: st.booleans()}[hint]


@given(elements(Domain))
@settings(max_examples=50, deadline=None)
def test_written_domain_reads_back_equal(domain: Domain) -> None:
    assert from_xml(to_xml(domain)) == domain


@given(TEXT)
@settings(max_examples=100, deadline=None)
def test_text_stays_in_its_place(text: str) -> None:
    document = etree.fromstring(to_xml(Domain(type=text, name=text, metadata=Metadata(uid=text))))
    assert document.get("type", "") == text
    if text:
        harmless = etree.fromstring(to_xml(Domain(type="x", name="x", metadata=Metadata(uid="x"))))
        assert [node.tag for node in document.iter()] == [node.tag for node in harmless.iter()]


@pytest.mark.parametrize("text", ["\0", "\x1b[31m", "\ud800", "\ufffe"])
def test_characters_that_xml_lacks_are_refused(text: str) -> None:
    with pytest.raises(DomainXmlError, match=r"Domain\.name"):
        to_xml(Domain(name=text))


@dataclass(frozen=True, kw_only=True)
class Thing(Element):
    size: int | None = at("@size", None)
    unit: str = at("size/@unit", "")
    text: str = at("size", "")
    flag: bool = at("flag", False)
    switch: bool | None = at("switch/@state", None, words=("on", "off"))


def test_fields_of_one_element_share_it() -> None:
    assert etree.fromstring(dump(Thing(unit="b", text="1"), "thing")).xpath("count(size)") == 1


def test_off_is_written_and_absent_is_not() -> None:
    assert "<switch" not in dump(Thing(), "thing")
    assert load(Thing, dump(Thing(switch=False), "thing"), "thing").switch is False


def test_zero_is_a_value() -> None:
    assert load(Thing, dump(Thing(size=0), "thing"), "thing").size == 0


def test_unknown_parts_are_passed_over() -> None:
    text = "<!-- c --><thing size='3' new='x'><other><flag/></other></thing>"
    assert load(Thing, text, "thing") == Thing(size=3)


@pytest.mark.parametrize(("text", "named"), [
    ("<thing size='many'/>", "thing/@size"),
    ("<thing><switch state='maybe'/></thing>", "switch/@state"),
    ("<thing", "no XML"),
    ("<other/>", "'other'"),
])
def test_what_does_not_fit_is_named(text: str, named: str) -> None:
    with pytest.raises(DomainXmlError, match=named):
        load(Thing, text, "thing")


def test_entities_of_a_document_are_not_expanded() -> None:
    text = '<!DOCTYPE thing [<!ENTITY e SYSTEM "file:///etc/passwd">]><thing><size>&e;</size></thing>'
    assert load(Thing, text, "thing").text == ""


def test_default_that_says_something_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Element):
        kind: str = at("@kind", "file")

    with pytest.raises(TypeError, match="kind"):
        dump(Wrong(), "wrong")
