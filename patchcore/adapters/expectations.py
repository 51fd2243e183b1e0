"""Great Expectations: the suite that says what a good data set is, run over a table with one row per image.

Columns of the table: path; role ("normal", "evaluation", or "candidate" before ingest takes it); label; problem (why
it cannot be read); width and height (pixels), size ("WxH"), mode, brightness, sharpness (see
`patchcore.images.facts.ImageFacts`); mask_size ("WxH"); and copy_of, evaluation_copy_of, near_copy_of (the path of
the image that it repeats). A value that does not apply is missing.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchcore._util import files
from patchcore.config.environment import NO_TELEMETRY, set_defaults
from patchcore.config.params import ValidateParams
from patchcore.errors import CannotWrite, ExpectationsFailed

if TYPE_CHECKING:
    import pandas as pd

_SITE = "data_docs"
_SHOWN = 20  # offending files in the overview; the page behind it and validation.json have them all


@dataclass(frozen=True)
class Check:
    """The outcome of one expectation.

    Attributes:
        name: What was checked, in a word or two.
        passed: Whether the data meet the expectation.
        expected: What is expected.
        observed: A number of rows, or how many images failed.
        offending: The paths of the images that failed, in the table's order.
        found: What each of them has instead.
    """

    name: str
    passed: bool
    expected: str
    observed: str
    offending: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """The outcome of the whole suite.

    Attributes:
        passed: Whether all checks passed.
        checks: One for each expectation.
    """

    passed: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class _Rule:
    name: str
    expected: str
    expectation: Any
    found: str = "{}"  # the template for the words about an unexpected value


def validate_table(
    table: "pd.DataFrame", params: ValidateParams, size: tuple[int, int] | None, docs: Path | None = None
) -> Validation:
    """Run the suite over a table of images.

    Args:
        table: One row per image, columns as above.
        params: What a good image is.
        size: Width and height that every image must have, in pixels; None: not checked.
        docs: Folder that the Data Docs replace, to be opened at index.html; None: none are written.

    Raises:
        ExpectationsFailed: Great Expectations could not evaluate an expectation.
        CannotWrite: The Data Docs cannot be written.
    """
    rules = list(_rules(params, size))
    if docs is None:
        return _validate(table, rules, None)
    try:
        with files.new_folder(docs) as folder:
            validation = _validate(table, rules, folder)
            _write_overview(folder, validation)
    except OSError as error:
        raise CannotWrite(
            f"{docs} cannot be written", str(error), "a writable folder", "make room on the disk"
        ) from error
    return validation


def _rules(params: ValidateParams, size: tuple[int, int] | None) -> Iterator[_Rule]:
    gxe = _great_expectations().expectations
    low, high = params.brightness
    sharpness, distance = params.sharpness_at_least, params.near_duplicate_distance
    readable = gxe.ExpectColumnValuesToBeNull(column="problem")
    yield _Rule("decodable", "a whole BMP, JPEG, PNG or TIFF image, 8 bits a channel", readable)
    for side, pixels in zip(("width", "height"), size or (), strict=False):
        yield _Rule(side, f"{pixels} pixels", gxe.ExpectColumnValuesToBeInSet(column=side, value_set=[pixels]))
    modes = gxe.ExpectColumnValuesToBeInSet(column="mode", value_set=list(params.modes))
    yield _Rule("mode", " or ".join(params.modes), modes)
    grey = gxe.ExpectColumnValuesToBeBetween(column="brightness", min_value=low, max_value=high)
    yield _Rule("brightness", f"a mean grey level from {low:g} to {high:g}", grey)
    sharp = gxe.ExpectColumnValuesToBeBetween(column="sharpness", min_value=sharpness)
    yield _Rule("sharpness", f"a variance of the Laplacian of at least {sharpness:g}", sharp)
    copy = gxe.ExpectColumnValuesToBeNull(column="copy_of")
    yield _Rule("exact duplicates", "every normal image once", copy, "the same bytes as {}")
    leak = gxe.ExpectColumnValuesToBeNull(column="evaluation_copy_of")
    yield _Rule("overlap", "no normal image in the evaluation set", leak, "the same bytes as {}")
    near = gxe.ExpectColumnValuesToBeNull(column="near_copy_of")
    words = f"normal images that differ by more than {distance:g} grey levels from every other"
    yield _Rule("near duplicates", words, near, "nearly the same picture as {}")
    mask = gxe.ExpectColumnPairValuesToBeEqual(
        column_A="mask_size", column_B="size", ignore_row_if="either_value_is_missing"
    )
    yield _Rule("mask size", "a mask of its image's size", mask, "a mask {}, an image {}")
    least = params.evaluation_at_least
    yield _rows("normal images", params.normals_at_least, role="normal")
    yield _rows("good evaluation images", least, role="evaluation", good=True)
    yield _rows("defective evaluation images", least, role="evaluation", good=False)


def _rows(name: str, least: int, *, role: str, good: bool | None = None) -> _Rule:
    from great_expectations.expectations.row_conditions import Column

    condition: Any = Column("role") == role
    if good is not None:
        condition &= (Column("label") == "good") if good else (Column("label") != "good")
    gxe = _great_expectations().expectations
    return _Rule(
        name, f"at least {least}", gxe.ExpectTableRowCountToBeBetween(min_value=least, row_condition=condition)
    )


def _validate(table: "pd.DataFrame", rules: list[_Rule], docs: Path | None) -> Validation:
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batches = context.data_sources.add_pandas("images").add_dataframe_asset("images")
    suite = context.suites.add(gx.ExpectationSuite(name="images"))
    for rule in rules:
        rule.expectation.description = f"{rule.name}: {rule.expected}"
        rule.expectation.meta = {"name": rule.name}
        suite.add_expectation(rule.expectation)
    definition = gx.ValidationDefinition(
        name="images", data=batches.add_batch_definition_whole_dataframe("images"), suite=suite
    )
    checkpoint = gx.Checkpoint(
        name="images",
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[_docs_action(context, docs)] if docs else [],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["path"]},
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
    (results,) = outcome.run_results.values()
    by_name = {result.expectation_config.meta["name"]: result for result in results.results}
    checks = tuple(_check(rule, by_name[rule.name], len(table)) for rule in rules)
    return Validation(all(check.passed for check in checks), checks)


def _check(rule: _Rule, result: Any, rows: int) -> Check:
    if not result.result:  # an expectation that raised an exception has no result
        raise ExpectationsFailed(
            f"the check {rule.name!r} could not be evaluated",
            got=_reason(result.exception_info),
            expected="an answer from Great Expectations",
            remedy="install the pinned version of great-expectations",
        )
    if "observed_value" in result.result:
        return Check(rule.name, result.success, rule.expected, str(result.result["observed_value"]), (), ())
    unexpected = result.result.get("unexpected_index_list") or []
    offending = tuple(str(entry["path"]) for entry in unexpected)
    found = tuple(_found(rule, entry) for entry in unexpected)
    return Check(rule.name, result.success, rule.expected, f"{len(offending)} of {rows} images", offending, found)


def _reason(information: dict[str, Any]) -> str:
    """Return the first line of the exception: an expectation keeps one exception, or one per metric."""
    kept = [information] if "exception_message" in information else list(information.values())
    messages = [str(one["exception_message"]) for one in kept if isinstance(one, dict) and one.get("exception_message")]
    lines = messages[0].strip().splitlines() if messages else []
    return lines[0][:300] if lines else "no reason"


def _found(rule: _Rule, entry: dict[str, Any]) -> str:
    pair = ("mask_size", "size")
    names = pair if pair[0] in entry else [name for name in entry if name != "path"]
    values = (entry[name] for name in names)
    return rule.found.format(*(f"{value:g}" if isinstance(value, float) else value for value in values))


def _docs_action(context: Any, folder: Path) -> Any:
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site = {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store}
    context.add_data_docs_site(_SITE, site)
    return _great_expectations().checkpoint.UpdateDataDocsAction(name=_SITE, site_names=[_SITE])


_OVERVIEW = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Data Docs</title>
<style>
body { font: 15px sans-serif; margin: 2em }
td, th { text-align: left; vertical-align: top; padding: .4em 1em; border-bottom: 1px solid #ccc }
.failed { background: #fdd }
</style>
<h1>Images: {{ "passed" if validation.passed else "failed" }}</h1>
<table>
<tr><th>Check<th>Verdict<th>Expected<th>Observed<th>Offending</tr>
{% for check in validation.checks %}
<tr class="{{ "passed" if check.passed else "failed" }}">
<td>{{ check.name }}<td>{{ "passed" if check.passed else "failed" }}<td>{{ check.expected }}<td>{{ check.observed }}<td>
{%- for path, found in offending(check)[:shown] %}{{ path }}: {{ found }}<br>{% endfor %}
{%- if offending(check)|length > shown %}and {{ offending(check)|length - shown }} more{% endif %}</tr>
{% endfor %}
</table>
{% for page in pages %}<p><a href="{{ page }}">Details</a></p>
{% endfor %}
</html>
"""


def _write_overview(folder: Path, validation: Validation) -> None:
    """Put a plain table before the generated pages: their own index needs scripts from the network."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(_OVERVIEW)
    page = template.render(
        validation=validation,
        offending=lambda check: list(zip(check.offending, check.found, strict=True)),
        shown=_SHOWN,
        pages=[page.relative_to(folder).as_posix() for page in sorted((folder / "validations").rglob("*.html"))],
    )
    files.write_bytes(folder / "index.html", page.encode())


def _great_expectations() -> Any:
    set_defaults(NO_TELEMETRY)
    import great_expectations
    import great_expectations.expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations
