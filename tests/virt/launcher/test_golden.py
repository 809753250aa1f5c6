"""Whole domains: each case compares all of the document, so nothing extra may appear.

``UPDATE_GOLDEN=1 pytest tests/virt/launcher/test_golden.py`` writes the files anew, but never in CI; read the diff.
"""

import os
from pathlib import Path

import pytest
from lxml import etree

from tests.virt.launcher.cases import CASES, case
from virt.launcher import design
from virt.launcher.domain import from_xml, to_xml

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")      # Debian: libvirt0


@pytest.mark.parametrize("name", CASES)
def test_domain_is_the_golden_one(name: str) -> None:
    given = case(name)
    text = to_xml(design.domain_for(given.vmi, given.facts, given.prepared))
    if os.environ.get("UPDATE_GOLDEN"):
        assert not os.environ.get("CI"), "golden files are not written in CI"
        given.xml.write_text(text, encoding="utf-8")
    assert text == given.xml.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_golden_domain_reads_back(name: str) -> None:
    given = case(name)
    domain = design.domain_for(given.vmi, given.facts, given.prepared)
    assert from_xml(given.xml.read_text(encoding="utf-8")) == domain


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"libvirt's schema {SCHEMA} is not installed")
@pytest.mark.parametrize("name", CASES)
def test_golden_domain_fits_libvirts_schema(name: str) -> None:
    schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
    document = etree.parse(str(case(name).xml))
    assert schema.validate(document), schema.error_log
