"""params.yaml as text: generated from the code, and completed without touching what a person wrote."""

from pathlib import Path

import pytest

from patchcore.config.params import Params, load_params, parameters, parse_params
from patchcore.config.params_file import params_text, with_missing_keys
from patchcore.errors import InvalidParams
from tests.support.places import PARAMS_FILE

PATH = Path("params.yaml")


def completed(text: str) -> str:
    return with_missing_keys(text, PATH)


def test_the_repositorys_file_is_the_generated_one() -> None:
    """`make format` writes it."""
    assert PARAMS_FILE.read_text(encoding="utf-8") == params_text(load_params(PARAMS_FILE).categories)


def test_every_parameter_has_a_description_and_stands_in_the_file_with_its_default() -> None:
    text = params_text()
    assert parse_params(text, PATH) == Params()
    for _, key, field in parameters():
        assert field.description, key
        assert [line for line in text.splitlines() if line.strip().startswith(f"{key}: ") and field.description in line]
    assert max(map(len, text.splitlines())) <= 120


def test_categories_are_written_so_that_they_stay_text() -> None:
    names = ("bottle", "123", "null", "yes", "1e3")
    assert parse_params(params_text(names), PATH).categories == names


def test_a_whole_file_stays_as_it_is() -> None:
    text = params_text().replace("seed: 0 ", "seed: 7 ")
    assert completed(text) == text


@pytest.mark.parametrize("key", [f"{block}.{key}" for block, key, _ in parameters() if block])
def test_a_key_that_is_missing_comes_back_in_its_place(key: str) -> None:
    block, name = key.split(".")
    text, in_block, lines = params_text(), False, []
    for line in text.splitlines(keepends=True):
        in_block = line.startswith(f"{block}:") if line[0] not in " \n#" else in_block
        if not (in_block and line.startswith(f"  {name}:")):
            lines.append(line)
    assert len(lines) == len(text.splitlines()) - 1
    assert completed("".join(lines)) == text


def test_a_block_that_is_missing_is_added_and_everything_else_stays() -> None:
    text = "categories: [bottle]\n# mine\ngate:\n    # why so low\n    aupro_at_least: 0.5   # because\n# the end"
    result = completed(text)
    assert parse_params(result, PATH) == parse_params(text, PATH)
    lines = iter(result.splitlines())
    assert all(line in lines for line in text.splitlines())  # in their order
    assert "    image_auroc_at_least: 0.9" in result
    assert completed(result) == result


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing here\n",
        "gate: {aupro_at_least: 0.5}\nbuild: {}\n",
        "build:\n  seed: 3",
        "---\n# first\nbuild:\n  seed: 3\n...\n",
        "validate:\n  size: [\n    30,\n    20]\n\n# a remark\nbuild:\n  seed: 3\n",
    ],
)
def test_what_is_completed_means_the_same_and_is_complete(text: str) -> None:
    result = completed(text)
    assert parse_params(result, PATH) == parse_params(text, PATH)
    assert completed(result) == result
    assert result.count("sharpness_at_least") == 1


@pytest.mark.parametrize("text", ["{}\n", "{build: {seed: 3}}\n"])
def test_what_is_written_in_braces_stays_as_it_is(text: str) -> None:
    assert completed(text) == text


def test_an_unknown_key_is_refused_and_not_carried_along() -> None:
    with pytest.raises(InvalidParams, match=r"build\.seed"):
        completed("build:\n  sead: 1\n")
