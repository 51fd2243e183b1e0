"""params.yaml, typed, frozen and strict: an unknown key or a value out of range is refused with its name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from patchcore.errors import Refused

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
CategoryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Backbone = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "wide_resnet50_2", "resnet18"]
Mode = Literal["1", "L", "P", "RGB", "RGBA"]  # those that images are read in
GreyLevel = Annotated[float, Field(ge=0.0, le=255.0)]

# The fields of a cron expression: its name, its lowest and highest number, and the words that may stand for numbers.
_CRON = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_CRON_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", re.ASCII)
_SPAN = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
Values = TypeVar("Values", bound=Sequence[object])


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError("the lower bound first, then a higher one")
    return value


def _without_repetition(values: Values) -> Values:
    repeated = [value for place, value in enumerate(values) if value in values[:place]]
    if repeated:
        raise ValueError(f"each value once, not {repeated[0]!r} again")
    return values


def _cron_expression(text: str) -> str:
    fields = text.split()
    if len(fields) != len(_CRON):
        raise ValueError("five fields: minute, hour, day of the month, month, day of the week")
    for field, (name, lowest, highest, words) in zip(fields, _CRON, strict=True):
        if not all(_is_cron_part(part, lowest, highest, words) for part in field.lower().split(",")):
            raise ValueError(f"for the {name}: *, or numbers from {lowest} to {highest}, as in 1,2-5,*/10")
    return text


def _is_cron_part(part: str, lowest: int, highest: int, words: tuple[str, ...]) -> bool:
    matched = _CRON_PART.fullmatch(part)
    if matched is None:
        return False
    # 22-2 has a meaning too: through midnight.
    ends = [end for end in matched.groups()[:2] if end]
    return all(end in words or (end.isdecimal() and lowest <= int(end) <= highest) for end in ends)


def _time_zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        if name != "UTC":  # that one needs no database
            ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("a time zone of the IANA database, such as UTC or Europe/Berlin") from error
    return name


def _span_of_hours(text: str) -> str:
    times = _SPAN.fullmatch(text)
    if times is None or times[1] == times[2]:
        raise ValueError("two different times of the day, from 00:00 to 23:59, as in 06:00-14:00 or 22:00-05:30")
    return text


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class ValidateParams(_Block):
    """What a good image is."""

    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    modes: Annotated[tuple[Mode, ...], Field(min_length=1), AfterValidator(_without_repetition)] = ("L", "RGB")
    brightness: Annotated[tuple[GreyLevel, GreyLevel], AfterValidator(_ascending)] = (5.0, 250.0)
    sharpness_at_least: Annotated[float, Field(ge=0.0)] = 1.0
    near_duplicate_distance: Annotated[float, Field(ge=0.0)] = 0.7
    normals_at_least: Annotated[int, Field(ge=2)] = 10
    evaluation_at_least: Annotated[int, Field(ge=1)] = 1


class ExtractParams(_Block):
    """How an image becomes patch features."""

    backbone: Backbone = "efficientnet_lite0"
    layers: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_without_repetition)] = (
        "blocks.2",
        "blocks.4",
    )
    weights: Path | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    image_size: Annotated[int, Field(ge=32)] = 224
    pool: Annotated[int, Field(ge=1)] = 3
    batch_size: Annotated[int, Field(ge=1)] = 2
    runtime: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    parity_images: Annotated[int, Field(ge=0)] = 16
    store: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _a_pool_has_a_middle(self) -> Self:
        if self.pool % 2 == 0:
            raise ValueError("pool must be odd: a neighbourhood has a patch in its middle")
        return self

    @model_validator(mode="after")
    def _weights_come_with_their_digest(self) -> Self:
        if (self.weights is None) != (self.weights_sha256 is None):
            raise ValueError("weights and weights_sha256 go together")
        return self


class BuildParams(_Block):
    """How patch features become a memory bank with a threshold."""

    coreset_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    rows_at_most: Annotated[int, Field(ge=1)] | None = None
    incremental: bool = True
    projection_dimension: Annotated[int, Field(ge=1)] | None = None
    held_out_share: OpenShare = 0.2
    false_alarm_rate: OpenShare = 0.05
    neighbours: Annotated[int, Field(ge=1)] = 1
    smoothing_sigma: Annotated[float, Field(ge=0.0)] = 4.0
    seed: Annotated[int, Field(ge=0)] = 0


class EvaluateParams(_Block):
    """How a bank is measured."""

    aupro_limit: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    example_heatmaps: Annotated[int, Field(ge=0)] = 8


class GateParams(_Block):
    """What a bank must reach before it may go to production."""

    image_auroc_at_least: Share = 0.9
    pixel_auroc_at_least: Share = 0.9
    aupro_at_least: Share = 0.8
    normals_at_least: Annotated[int, Field(ge=1)] = 10
    defects_at_least: Annotated[int, Field(ge=1)] = 10
    image_auroc_drop_at_most: Share = 0.01
    pixel_auroc_drop_at_most: Share = 0.01
    aupro_drop_at_most: Share = 0.02
    second_person: bool = False


class VersioningParams(_Block):
    """Whether what a command did is committed to git and pushed to the DVC remote."""

    commit: bool = True
    push: bool = True


class ScheduleParams(_Block):
    """When `patchcore serve` looks for new normal images, and what it does about them by itself."""

    retrain: Annotated[str, AfterValidator(_cron_expression)] = "0 2 * * *"
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    minimum_new_images: Annotated[int, Field(ge=1)] = 1
    quiet_hours: tuple[Annotated[str, AfterValidator(_span_of_hours)], ...] = ()
    rebuild_after_days: Annotated[int, Field(ge=1)] | None = None
    watch: bool = True
    settle_seconds: Annotated[float, Field(gt=0.0)] = 10.0


class Params(_Block):
    """The whole of params.yaml."""

    categories: Annotated[tuple[CategoryName, ...], AfterValidator(_without_repetition)] = ()
    validate_: ValidateParams = Field(ValidateParams(), alias="validate")  # `validate` is a method of every model
    extract: ExtractParams = ExtractParams()
    build: BuildParams = BuildParams()
    evaluate: EvaluateParams = EvaluateParams()
    gate: GateParams = GateParams()
    versioning: VersioningParams = VersioningParams()
    schedule: ScheduleParams = ScheduleParams()

    def require(self, category: str) -> None:
        """Check that a category exists.

        Raises:
            Refused: it is not in the list of categories.
        """
        if category not in self.categories:
            raise Refused(
                f"no category {category!r} in params.yaml",
                got=repr(category),
                expected=f"one of {', '.join(self.categories) or 'none yet'}",
                remedy=f"add one with: patchcore add {category} FOLDER",
            )


def load_params(path: Path) -> Params:
    """Return the parameters of a workspace.

    Raises:
        Refused: the file is missing, is not YAML, has an unknown key, lacks one, or holds a value out of range.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise Refused(f"{path} cannot be read", got=str(error), expected="a YAML file", remedy="mend it") from error
    try:
        return Params.model_validate({} if raw is None else raw)  # an empty file leaves every parameter out
    except ValidationError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: ValidationError) -> Refused:
    # A misspelt key is an unknown one and a missing one: the unknown one tells where to look.
    first, *others = sorted(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        return Refused(f"{path}: unknown key {key}", got=key, expected="only known keys", remedy=f"remove it{more}")
    return Refused(
        f"{path}: {key}",
        got=repr(first.get("input"))[:80],
        expected=first["msg"].removeprefix("Value error, "),
        remedy=f"change {key}{more}",
    )
