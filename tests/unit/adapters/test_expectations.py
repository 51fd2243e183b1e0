from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from patchcore.adapters.expectations import Check, Validation, validate_table
from patchcore.config.params import ValidateParams
from patchcore.errors import Fault

PARAMS = ValidateParams(
    size=None,
    modes=("L", "RGB"),
    brightness=(5.0, 250.0),
    sharpness_at_least=1.0,
    near_duplicate_distance=0.7,
    normals_at_least=2,
    evaluation_at_least=1,
)


def row(name: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "path": name, "role": "normal", "label": "good", "problem": None,
        "width": 8.0, "height": 6.0, "size": "8x6", "mode": "L", "brightness": 100.0, "sharpness": 50.0,
        "mask_size": None, "copy_of": None, "evaluation_copy_of": None, "near_copy_of": None,
    }  # fmt: skip
    return plain | changes


def table(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [
            row("good.png", role="evaluation"),
            row("crack.png", role="evaluation", label="crack", mask_size="8x6"),
            row("one.png"),
            row("two.png", **changes),
        ]
    )


def by_name(validation: Validation) -> dict[str, Check]:
    return {check.name: check for check in validation.checks}


def test_good_images_pass_every_check() -> None:
    validation = validate_table(table(), PARAMS, (8, 6))
    assert validation.passed
    assert all(check.passed and not check.offending for check in validation.checks)
    assert [check.name for check in validation.checks] == [
        "decodable", "width", "height", "mode", "brightness", "sharpness", "exact duplicates", "overlap",
        "near duplicates", "mask size", "normal images", "good evaluation images", "defective evaluation images",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "name", "found"),
    [
        ({"problem": "an empty file"}, "decodable", "an empty file"),
        ({"width": 9.0}, "width", "9"),
        ({"height": 7.0}, "height", "7"),
        ({"mode": "RGBA"}, "mode", "RGBA"),
        ({"brightness": 4.5}, "brightness", "4.5"),
        ({"brightness": 251.0}, "brightness", "251"),
        ({"sharpness": 0.5}, "sharpness", "0.5"),
        ({"copy_of": "one.png"}, "exact duplicates", "the same bytes as one.png"),
        ({"evaluation_copy_of": "good.png"}, "overlap", "the same bytes as good.png"),
        ({"near_copy_of": "one.png"}, "near duplicates", "nearly the same picture as one.png"),
        ({"mask_size": "9x9"}, "mask size", "a mask 9x9, an image 8x6"),
    ],
)
def test_the_image_that_fails_is_named_with_what_it_has(changes: dict[str, Any], name: str, found: str) -> None:
    validation = validate_table(table(**changes), PARAMS, (8, 6))
    assert not validation.passed
    assert [check.name for check in validation.checks if not check.passed] == [name]
    check = by_name(validation)[name]
    assert (check.offending, check.found, check.observed) == (("two.png",), (found,), "1 of 4 images")


def test_an_image_without_facts_fails_only_where_they_are_asked_for() -> None:
    nothing = dict.fromkeys(("width", "height", "size", "mode", "brightness", "sharpness"))
    validation = validate_table(table(problem="a damaged image", **nothing), PARAMS, (8, 6))
    assert [check.name for check in validation.checks if not check.passed] == ["decodable"]


@pytest.mark.parametrize(
    ("rows", "name"),
    [([0, 1, 2], "normal images"), ([1, 2, 3], "good evaluation images"), ([0, 2, 3], "defective evaluation images")],
)
def test_too_few_images_of_a_kind_fail(rows: list[int], name: str) -> None:
    validation = validate_table(table().iloc[rows], PARAMS, (8, 6))
    (failed,) = (check for check in validation.checks if not check.passed)
    assert failed.name == name
    assert failed.observed == ("1" if name == "normal images" else "0")


def test_without_a_size_none_is_checked() -> None:
    assert "width" not in by_name(validate_table(table(), PARAMS, None))


def test_data_docs_show_the_checks_and_replace_older_ones(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "older.html").touch()
    validate_table(table(copy_of="a<b>.png"), PARAMS, (8, 6), docs)
    overview = (docs / "index.html").read_text()
    assert "exact duplicates" in overview
    assert "two.png: the same bytes as a&lt;b&gt;.png" in overview
    (page,) = (docs / "validations").rglob("*.html")
    assert page.relative_to(docs).as_posix() in overview
    assert "every normal image once" in page.read_text()
    assert not (docs / "older.html").exists()


def test_docs_that_cannot_be_written_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fault, match="file/docs"):
        validate_table(table(), PARAMS, (8, 6), tmp_path / "file/docs")


def test_a_table_that_lacks_a_column_is_a_fault_not_a_verdict() -> None:
    with pytest.raises(Fault, match="sharpness") as caught:
        validate_table(table().drop(columns="sharpness"), PARAMS, (8, 6))
    assert 'The column "sharpness"' in caught.value.got
    assert "Traceback" not in caught.value.got
    assert len(caught.value.got) <= 300
