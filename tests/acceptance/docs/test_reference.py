"""The generated parts of the reference, and what pages must hold."""

import re

import pytest

from docs.tools import reference
from patchcore.errors import error_types
from tests.support.places import REPOSITORY

_PAGES = {path: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("**/*.md"))}


def test_every_marker_names_a_section_and_every_section_is_used() -> None:
    used = {name for text in _PAGES.values() for name in re.findall(r"^<!-- generated: (.+) -->$", text, re.MULTILINE)}

    assert used == set(reference.SECTIONS)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("commands", "| [`patchcore audit verify`](#patchcore-audit-verify) |"),
        ("decisions", "superseded by"),
        ("errors", "| `gate-refused` | 3 | `GateRefused` |"),
        ("parameters", "| `image_auroc_at_least` | number ≥ 0, ≤ 1 | `0.9` |"),
    ],
)
def test_a_section_holds_what_the_code_says(section: str, expected: str) -> None:
    assert expected in reference.fill(f"<!-- generated: {section} -->")


def test_every_parameter_has_a_meaning() -> None:
    rows = [line for line in reference.parameters() if line.startswith("| `")]

    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_error_is_listed() -> None:
    listed = "\n".join(reference.errors())

    assert [code for code in error_types() if f"| `{code}` |" not in listed] == []


def test_a_superseded_decision_names_one_that_exists() -> None:
    for file in sorted(reference.DECISIONS.glob("[0-9]*.md")):
        status = re.search(r"^- Status: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert status is not None, file
        assert re.fullmatch(r"accepted|superseded (in part )?by \[\d+\]\(\d{4}-[a-z0-9-]+\.md\)", status[1]), file


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_every_link_of_the_readme_and_its_neighbours_leads_to_a_file() -> None:
    for page in sorted(REPOSITORY.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (REPOSITORY / target).exists(), (page.name, target)
