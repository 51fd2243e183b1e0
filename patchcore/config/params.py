"""The parameters of a workspace: typed, frozen and strict. Every default and description is in this module.

params.yaml may leave any parameter or whole block out; `patchcore.config.params_file` writes one that lists them all.
An unknown key or a value out of range is refused by name.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from patchcore.config.validators import ascending, cron_expression, known_time_zone, span_of_hours, without_repetition
from patchcore.errors import InvalidParams, UnknownCategory

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
CategoryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Backbone = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "wide_resnet50_2", "resnet18"]
Mode = Literal["1", "L", "P", "RGB", "RGBA"]  # the modes that images are read in
GreyLevel = Annotated[float, Field(ge=0.0, le=255.0)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class ValidateParams(_Block):
    """What a good image is."""

    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = Field(
        None, description="[width, height] of every image; null: the size most images have"
    )
    modes: Annotated[tuple[Mode, ...], Field(min_length=1), AfterValidator(without_repetition)] = Field(
        ("L", "RGB"), description="how pixels are stored: grey or colour, 8 bits each"
    )
    brightness: Annotated[tuple[GreyLevel, GreyLevel], AfterValidator(ascending)] = Field(
        (5.0, 250.0), description="mean grey level of an image, 0 to 255"
    )
    sharpness_at_least: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="variance of the Laplacian of an image's grey levels"
    )
    near_duplicate_distance: Annotated[float, Field(ge=0.0)] = Field(
        0.7, description="root mean square difference of 64x64 grey thumbnails up to which two images are one"
    )
    normals_at_least: Annotated[int, Field(ge=2)] = Field(10, description="normal images in train/good")
    evaluation_at_least: Annotated[int, Field(ge=1)] = Field(
        1, description="images of each class, normal and defective, in test"
    )


class ExtractParams(_Block):
    """How an image becomes patch features."""

    backbone: Backbone = Field(
        "efficientnet_lite0",
        description="the network: also efficientnet_lite1, efficientnet_lite2, wide_resnet50_2, resnet18",
    )
    layers: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(without_repetition)] = Field(
        ("blocks.2", "blocks.4"), description="mid-level layers; layer2 and layer3 for the two torchvision networks"
    )
    weights: Path | None = Field(None, description="a file; null: the package's or torchvision's own")
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="of that file, needed with it"
    )
    image_size: Annotated[int, Field(ge=32)] = Field(
        224, description="pixels; images are resized to a square of this side"
    )
    pool: Annotated[int, Field(ge=1)] = Field(3, description="side of the neighbourhood that a patch is averaged over")
    batch_size: Annotated[int, Field(ge=1)] = Field(
        2, description="images in one call of the network; a few fit the cache of a core, more are slower"
    )
    runtime: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="torch or openvino; auto: openvino where it is installed"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network; bfloat16 is faster, and used only where its scores agree"
    )
    parity_images: Annotated[int, Field(ge=0)] = Field(
        16, description="held-out normal images that the other runtime is compared on; 0: no comparison"
    )
    store: Literal["float32", "float16"] = Field(
        "float32", description="type of features on disk; float16 halves them and rounds them"
    )

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

    coreset_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.01, description="bank rows for each patch of the normal images"
    )
    rows_at_most: Annotated[int, Field(ge=1)] | None = Field(None, description="bank rows in all; null: no limit")
    incremental: bool = Field(
        True, description="true: new images add rows, unless there is a projection; false: always a new selection"
    )
    projection_dimension: Annotated[int, Field(ge=1)] | None = Field(
        None, description="dimensions of the random projection in which patches are chosen; null: no projection"
    )
    held_out_share: OpenShare = Field(
        0.2, description="share of the normal images that calibrates the threshold instead"
    )
    false_alarm_rate: OpenShare = Field(0.05, description="share of normal images that may be called anomalous")
    neighbours: Annotated[int, Field(ge=1)] = Field(
        1, description="1: the largest patch distance; 9: the paper's re-weighting (Eq. 7)"
    )
    smoothing_sigma: Annotated[float, Field(ge=0.0)] = Field(
        4.0, description="of the anomaly map, in pixels of the resized image"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of every random choice")


class EvaluateParams(_Block):
    """How a bank is measured."""

    aupro_limit: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.3, description="false-positive rate up to which AUPRO integrates"
    )
    example_heatmaps: Annotated[int, Field(ge=0)] = Field(8, description="evaluation images that a heatmap is drawn of")


class GateParams(_Block):
    """What a bank must reach before it may go to production."""

    image_auroc_at_least: Share = Field(0.9, description="of the evaluation set")
    pixel_auroc_at_least: Share = Field(0.9, description="where there are masks")
    aupro_at_least: Share = Field(0.8, description="where there are masks")
    normals_at_least: Annotated[int, Field(ge=1)] = Field(10, description="evaluation images of the class normal")
    defects_at_least: Annotated[int, Field(ge=1)] = Field(10, description="evaluation images that are defective")
    image_auroc_drop_at_most: Share = Field(
        0.01, description="below the bank in production, on the same evaluation set"
    )
    pixel_auroc_drop_at_most: Share = Field(0.01, description="below the bank in production, where there are masks")
    aupro_drop_at_most: Share = Field(0.02, description="below the bank in production, where there are masks")
    second_person: bool = Field(
        False, description="true: a promotion is proposed, and carried out when another person approves"
    )


class VersioningParams(_Block):
    """Whether what a command did is committed to git and pushed to the DVC remote."""

    commit: bool = Field(True, description="git commits of pointers, dvc.lock and reports")
    push: bool = Field(True, description="dvc push, where a remote is set")


class ScheduleParams(_Block):
    """When `patchcore serve` looks for new normal images, and what it does about them by itself."""

    retrain: Annotated[str, AfterValidator(cron_expression)] = Field(
        "0 2 * * *", description="cron, or a name such as @daily; in the time zone below"
    )
    time_zone: Annotated[str, AfterValidator(known_time_zone)] = Field(
        "UTC", description="of the IANA database, such as Europe/Berlin"
    )
    minimum_new_images: Annotated[int, Field(ge=1)] = Field(
        1, description="in the drop folder, before a retrain starts by itself"
    )
    quiet_hours: tuple[Annotated[str, AfterValidator(span_of_hours)], ...] = Field(
        (), description='when none starts by itself, in that time zone: ["06:00-14:00", "22:00-02:00"]'
    )
    rebuild_after_days: Annotated[int, Field(ge=1)] | None = Field(
        None, description="calendar days after which a bank is built from nothing; null: never"
    )
    watch: bool = Field(True, description="look for new files all the time, not only at the times of `retrain`")
    settle_seconds: Annotated[float, Field(gt=0.0)] = Field(
        10.0, description="a file in the drop folder that did not change for so long is complete"
    )


class Params(_Block):
    """The whole of params.yaml.

    Example:
        >>> Params().build.coreset_ratio
        0.01
        >>> Params.model_validate({"gate": {"aupro_at_least": 0.7}}).gate.image_auroc_at_least
        0.9
    """

    categories: Annotated[tuple[CategoryName, ...], AfterValidator(without_repetition)] = Field(
        (), description="`patchcore add` writes here"
    )
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
            UnknownCategory: It is not in the list of categories.
        """
        if category not in self.categories:
            raise UnknownCategory(
                f"no category {category!r} in params.yaml",
                got=repr(category),
                expected=f"one of {', '.join(self.categories) or 'none yet'}",
                remedy=f"add one with: patchcore add {category} FOLDER",
            )


def load_params(path: Path) -> Params:
    """Return the parameters of a workspace; those that the file leaves out have their defaults.

    Raises:
        InvalidParams: The file is missing, is not YAML, has an unknown key, or holds a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    return parse_params(text, path)


def parse_params(text: str, path: Path) -> Params:
    """Return the parameters in the text of a params.yaml.

    Args:
        text: YAML; an empty text leaves every parameter out.
        path: The file that errors name.

    Raises:
        InvalidParams: It is not YAML, has an unknown key, or holds a value out of range.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        raw = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise _unreadable(path, error) from error
    try:
        return Params.model_validate({} if raw is None else raw)
    except ValidationError as error:
        raise _refusal(path, error) from error


def parameters() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield block (empty for ``categories``), key and field of every parameter, in their order."""
    for name, field in Params.model_fields.items():
        block = field.annotation
        if not (isinstance(block, type) and issubclass(block, BaseModel)):
            yield "", name, field
            continue
        for key, inner in block.model_fields.items():
            yield field.alias or name, key, inner


def _unreadable(path: Path, error: Exception) -> InvalidParams:
    return InvalidParams(f"{path} cannot be read", got=str(error), expected="a YAML file", remedy="correct it")


def _refusal(path: Path, error: ValidationError) -> InvalidParams:
    # Unknown keys first: where one is misspelt, the other errors follow from it.
    first, *others = sorted(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        nearest = _nearest(key)
        return InvalidParams(
            f"{path}: unknown key {key}",
            got=key,
            expected=f"a known key, such as {nearest}" if nearest else "a known key; see docs or a new workspace",
            remedy=f"write {nearest}, or remove the line{more}" if nearest else f"remove it{more}",
        )
    return InvalidParams(
        f"{path}: {key}",
        got=repr(first.get("input"))[:80],
        expected=first["msg"].removeprefix("Value error, "),
        remedy=f"change {key}{more}",
    )


def _nearest(key: str) -> str | None:
    """Return the known key that is spelt most like an unknown one; one of the same block counts as a little nearer."""
    known = [f"{block}.{name}" if block else name for block, name, _ in parameters()]
    known += [field.alias or name for name, field in Params.model_fields.items()]
    block, _, name = key.rpartition(".")

    def likeness(path: str) -> float:
        of, _, other = path.rpartition(".")
        return difflib.SequenceMatcher(None, name, other).ratio() + (0.1 if of == block else 0.0)

    nearest = max(known, key=likeness)
    return nearest if likeness(nearest) > 0.7 else None
