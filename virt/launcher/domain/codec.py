"""Frozen dataclasses <-> XML elements: one typed codec for all of libvirt's documents.

A class lists its fields once, each with the place where its value stands; both directions follow from that list.
Mapping only: no default of libvirt's is known here and nothing is decided. What a document has beyond the fields is
not read.

Places are written like XPath, below the object's own element::

    name: str = at("name", "")                      <name>text</name>
    bus: str = at("target/@bus", "")                <target bus="..."/>
    text: str = at(".", "")                         the element's own text
    read_only: bool = at("readonly", False)         <readonly/> is there or not; an element of its own
    secure: bool | None = at("loader/@secure", None)        "yes" or "no"; ``words`` for other pairs
    alias: Alias | None = at("alias", None)         one element of class Alias
    disks: tuple[Disk, ...] = at("disk", ())        many, in order

Values that say nothing ("", None, (), and False where an element is the flag) are not written, and every default must
be such a value; so a written object reads back equal. The format: https://libvirt.org/formatdomain.html.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lxml import etree

from virt.base.errors import VirtError

T = TypeVar("T")
E = TypeVar("E", bound="Element")

YES_NO = ("yes", "no")
ON_OFF = ("on", "off")
_NAMESPACES: Mapping[str, str] = {"kubevirt": "http://kubevirt.io"}
_SAYS_NOTHING = ("", None, False, ())


class DomainXmlError(VirtError):
    """A document or a value does not fit libvirt's format."""

    reference = "domain-xml"
    hint = "compare the value with https://libvirt.org/formatdomain.html"


class Element:
    """Base of all classes that stand for an XML element."""


@dataclass(frozen=True)
class _Slot:
    """A field's place: ``steps`` are element names, ``attribute`` is "" for the element itself."""

    name: str
    path: str
    steps: tuple[str, ...]
    attribute: str
    item: type
    many: bool
    words: tuple[str, str]

    @property
    def is_flag(self) -> bool:
        return self.item is bool and not self.attribute


_PLANS: dict[type[Element], tuple[_Slot, ...]] = {}     # worked out at the first use of a class


def at(path: str, default: T, *, words: tuple[str, str] = YES_NO) -> T:
    """A dataclass field whose value stands at ``path``. ``words``: what true and false are called in an attribute."""
    return field(default=default, metadata={"path": path, "words": words})


def dump(element: Element, tag: str) -> str:
    """The document whose root is ``element`` under the name ``tag``. Raises DomainXmlError for characters XML lacks."""
    root = etree.Element(tag)
    _fill(root, element)
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def load(cls: type[E], text: str, tag: str) -> E:
    """Read a document with root ``tag``. Raises DomainXmlError. Entities and the network are not touched."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DomainXmlError(f"the {tag} document is no XML: {error}") from error
    if root.tag != tag:
        raise DomainXmlError(f"the document is a {str(root.tag)[:80]!r}, not a {tag!r}")
    return _read(cls, root)


def _slots(cls: type[Element]) -> tuple[_Slot, ...]:
    if cls not in _PLANS:
        _PLANS[cls] = _plan(cls)
    return _PLANS[cls]


def _plan(cls: type[Element]) -> tuple[_Slot, ...]:
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is no dataclass")
    hints = get_type_hints(cls)
    slots = []
    for entry in fields(cls):
        path: str = entry.metadata["path"]
        if entry.default not in _SAYS_NOTHING:
            raise TypeError(f"{cls.__name__}.{entry.name}: the default must say nothing, not {entry.default!r}")
        item, many = _item(hints[entry.name])
        *steps, last = path.split("/")
        attribute = last.removeprefix("@") if last.startswith("@") else ""
        if not attribute and last != ".":
            steps.append(last)
        slots.append(_Slot(entry.name, path, tuple(map(_name, steps)), attribute, item, many, entry.metadata["words"]))
    return tuple(slots)


def _item(hint: Any) -> tuple[type, bool]:
    """``X``, ``X | None`` and ``tuple[X, ...]`` -> X, and whether there may be many."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple:
        return get_args(hint)[0], True
    return hint, False


def _name(step: str) -> str:
    prefix, _, local = step.rpartition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}" if prefix else local


def _new(parent: etree._Element, name: str) -> etree._Element:
    namespaces = {prefix: uri for prefix, uri in _NAMESPACES.items() if name.startswith(f"{{{uri}}}")}
    return etree.SubElement(parent, name, nsmap=namespaces or None)


def _fill(node: etree._Element, element: Element) -> None:
    for slot in _slots(type(element)):
        value = getattr(element, slot.name)
        if value is None or value in ("", ()) or (slot.is_flag and not value):
            continue
        try:
            _put(node, slot, value)
        except ValueError as error:     # control characters, lone surrogates
            raise DomainXmlError(f"{type(element).__name__}.{slot.name} {value!r} cannot be written as XML") from error


def _put(node: etree._Element, slot: _Slot, value: Any) -> None:
    if slot.many or isinstance(value, Element):
        node = _descend(node, slot.steps[:-1])
        for each in value if slot.many else (value,):
            _fill(_new(node, slot.steps[-1]), each)
        return
    node = _descend(node, slot.steps)
    if slot.is_flag:
        return
    text = slot.words[0 if value else 1] if isinstance(value, bool) else str(value)
    if slot.attribute:
        node.set(slot.attribute, text)
    else:
        node.text = text


def _descend(node: etree._Element, steps: tuple[str, ...]) -> etree._Element:
    for step in steps:
        found = node.find(step)
        node = _new(node, step) if found is None else found
    return node


def _read(cls: type[E], node: etree._Element) -> E:
    values: dict[str, Any] = {}
    for slot in _slots(cls):
        found = node.findall("/".join(slot.steps)) if slot.steps else [node]
        if slot.many:
            values[slot.name] = tuple(_read(slot.item, each) for each in found)
        elif found and issubclass(slot.item, Element):
            values[slot.name] = _read(slot.item, found[0])
        elif found and slot.is_flag:
            values[slot.name] = True
        elif found:
            text = found[0].get(slot.attribute) if slot.attribute else found[0].text
            if text:
                values[slot.name] = _scalar(text, slot, f"{etree.QName(node).localname}/{slot.path}")
    return cls(**values)


def _scalar(text: str, slot: _Slot, place: str) -> str | int | bool:
    try:
        if slot.item is int:
            return int(text)
        if slot.item is bool:
            return (True, False)[slot.words.index(text)]
    except ValueError as error:
        raise DomainXmlError(f"{place} has the value {text!r}, which is no {slot.item.__name__}") from error
    return text
