import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from patchcore.config.params import Params, ScheduleParams, load_params
from patchcore.errors import Refused
from tests.support.places import PARAMS_FILE

Write = Callable[..., Path]
CRON_OF_PREFECT = ("@daily", "@hourly", "0 2 L * *", "0 2 * * mon#1", "0 2 * * L5", "0 2 29 2 *", "0 2 ? * tue")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the repository's params.yaml with one value changed, and returns the file."""

    def changed(block: str, key: str, value: object) -> Path:
        yaml = YAML(typ="safe", pure=True)
        raw: dict[str, Any] = yaml.load(PARAMS_FILE)
        (raw[block] if block else raw)[key] = value
        path = tmp_path / "params.yaml"
        yaml.dump(raw, path)
        return path

    return changed


def refusal(path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        load_params(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3
    return caught.value


def test_the_repositorys_own_parameters_are_valid() -> None:
    params = load_params(PARAMS_FILE)
    assert params.extract.backbone == "efficientnet_lite0"
    assert params.extract.layers == ("blocks.2", "blocks.4")
    assert params.build.coreset_ratio == 0.01
    assert params.validate_.normals_at_least == 10


@pytest.mark.parametrize("block", ["", "validate", "extract", "build", "evaluate", "gate", "versioning", "schedule"])
def test_an_unknown_key_is_refused_by_name(write: Write, block: str) -> None:
    error = refusal(write(block, "corset_ratio", 0.1))
    assert error.got == (f"{block}.corset_ratio" if block else "corset_ratio")
    assert "unknown key" in error.what
    assert error.expected == "a known key, such as build.coreset_ratio"
    assert error.code == "invalid-params"


@pytest.mark.parametrize(
    ("block", "key", "nearest"),
    [
        ("gate", "image_auroc_at_lest", "gate.image_auroc_at_least"),
        ("gate", "normals_at_leest", "gate.normals_at_least"),  # validate has a key of that name too
        ("", "shedule", "schedule"),
        ("", "seed", "build.seed"),
        ("", "categorys", "categories"),
    ],
)
def test_the_nearest_known_key_is_named(write: Write, block: str, key: str, nearest: str) -> None:
    error = refusal(write(block, key, 1))
    assert error.expected == f"a known key, such as {nearest}"
    assert f"write {nearest}, or remove the line" in error.remedy


def test_a_key_that_is_like_no_other_is_refused_too(write: Write) -> None:
    assert "remove it" in refusal(write("build", "xyzzy", 1)).remedy


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        ("build", "coreset_ratio", "a lot"),
        ("build", "coreset_ratio", 0),
        ("build", "coreset_ratio", 1.01),
        ("build", "coreset_ratio", None),
        ("build", "seed", 1.5),
        ("build", "seed", -1),
        ("build", "neighbours", 0),
        ("build", "held_out_share", 1),
        ("build", "false_alarm_rate", 0),
        ("build", "smoothing_sigma", -1),
        ("build", "projection_dimension", 0),
        ("extract", "backbone", "resnet19"),
        ("extract", "layers", []),
        ("extract", "image_size", 16),
        ("extract", "batch_size", 0),
        ("extract", "parity_images", -1),
        ("extract", "store", "float64"),
        ("extract", "runtime", "tensorrt"),
        ("extract", "precision", "float8"),
        ("extract", "weights_sha256", "abc"),
        ("validate", "normals_at_least", 1),
        ("validate", "size", [300]),
        ("validate", "modes", []),
        ("validate", "modes", ["L", "CMYK"]),
        ("validate", "modes", ["rgb"]),
        ("validate", "modes", ["L", "L"]),
        ("validate", "brightness", [250.0, 5.0]),
        ("validate", "brightness", [5.0, 5.0]),
        ("validate", "brightness", [5.0, float("nan")]),
        ("validate", "brightness", [float("nan"), 250.0]),
        ("validate", "brightness", [-1.0, 250.0]),
        ("validate", "brightness", [5.0, 256.0]),
        ("validate", "brightness", [5.0]),
        ("validate", "sharpness_at_least", float("inf")),
        ("validate", "sharpness_at_least", -1.0),
        ("validate", "near_duplicate_distance", float("nan")),
        ("validate", "near_duplicate_distance", -0.1),
        ("validate", "evaluation_at_least", -1),
        ("extract", "layers", ["blocks.2", "blocks.2"]),
        ("build", "smoothing_sigma", float("inf")),
        ("evaluate", "aupro_limit", 0),
        ("gate", "image_auroc_at_least", 90),
        ("versioning", "commit", "perhaps"),
        ("schedule", "minimum_new_images", 0),
        ("schedule", "rebuild_after_days", 0),
        ("schedule", "rebuild_after_days", 1.5),
        ("schedule", "watch", "sometimes"),
        ("schedule", "settle_seconds", 0),
        ("schedule", "settle_seconds", float("inf")),
        ("schedule", "quiet_hours", "06:00-14:00"),
        ("schedule", "quiet_hours", ["6:00-14:00"]),
        ("schedule", "quiet_hours", ["06:00-24:00"]),
        ("schedule", "quiet_hours", ["06:60-07:00"]),
        ("schedule", "quiet_hours", ["06:00 - 14:00"]),
        ("schedule", "quiet_hours", ["06:00-06:00"]),
        ("schedule", "quiet_hours", ["06:00-14:00", "nights"]),
        ("", "categories", ["no/such"]),
        ("", "categories", "bottle"),
        ("", "categories", ["bottle", "cable", "bottle"]),
        ("schedule", "time_zone", "Mars/Olympus"),
        ("schedule", "time_zone", "Europe"),
        ("schedule", "time_zone", "../UTC"),
        ("schedule", "time_zone", ""),
        ("", "gate", None),
    ],
)
def test_a_value_of_the_wrong_type_or_out_of_range_names_its_key(
    write: Write, block: str, key: str, value: object
) -> None:
    error = refusal(write(block, key, value))
    assert (f"{block}.{key}" if block else key) in error.what
    assert error.expected
    assert key in error.remedy


@pytest.mark.parametrize(
    "value",
    [
        "",
        "every night",
        "0 2 * *",
        "0 2 * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * mon *",
        "*/0 * * * *",
        "1- * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "\u0664 * * * *",
        "@reboot",
        "@fortnightly",
        "H 2 * * *",
        "R(0-5) 2 * * *",
        "0 2 30 2 *",
        "0 2 31 4,6 *",
        "0 2 * * mon#6",
    ],
)
def test_a_schedule_that_is_no_cron_expression_is_refused(write: Write, value: str) -> None:
    error = refusal(write("schedule", "retrain", value))
    assert "schedule.retrain" in error.what
    assert "Value error" not in error.expected


@pytest.mark.parametrize(
    "value",
    [
        "*/15 * * * *",
        "0 0,12 1-5 */2 mon-fri",
        "5/10 22-2 * JAN 7",
        " 0  2 * * sat-mon ",
        "0 6-18/4 * * *",
        *CRON_OF_PREFECT,
    ],
)
def test_cron_expressions_are_taken_as_they_are(write: Write, value: str) -> None:
    assert load_params(write("schedule", "retrain", value)).schedule.retrain == value


def test_time_zones_and_every_mode_of_an_image_are_taken(write: Write) -> None:
    assert load_params(write("schedule", "time_zone", "Europe/Berlin")).schedule.time_zone == "Europe/Berlin"
    modes = ("1", "L", "P", "RGB", "RGBA")
    assert load_params(write("validate", "modes", list(modes))).validate_.modes == modes


@pytest.mark.parametrize("value", [0, 2, 4])
def test_a_pool_without_a_middle_is_refused(write: Write, value: int) -> None:
    assert "pool" in str(refusal(write("extract", "pool", value)))


def test_weights_and_their_digest_go_together(write: Write, tmp_path: Path) -> None:
    assert "weights and weights_sha256 go together" in str(refusal(write("extract", "weights", "mine.safetensors")))
    assert "weights and weights_sha256 go together" in str(refusal(write("extract", "weights_sha256", "0" * 64)))


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n", "categories: []\n", "gate: {}\n"])
def test_parameters_that_are_left_out_have_their_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    listed = load_params(PARAMS_FILE).model_copy(update={"categories": ()})
    assert load_params(path) == Params() == listed


def test_one_key_of_a_block_can_be_set_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("build:\n  seed: 3\n")
    assert load_params(path).build == Params().build.model_copy(update={"seed": 3})


def test_several_errors_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS_FILE.read_text().replace("seed: 0", "seed: x").replace("neighbours: 1 ", "neighbours: 0 "))
    assert "(and 1 more)" in refusal(path).remedy


@pytest.mark.parametrize(
    "content",
    [
        b"- a\n- b\n",
        b"a: [1,\n",
        b"a: \xff\xfe\n",
        b"categories: []\ncategories: []\n",
        b"!!python/name:os.system\n",
    ],
)
def test_a_file_that_is_not_our_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    refusal(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "params.yaml").got


def test_parameters_are_frozen() -> None:
    params = load_params(PARAMS_FILE)
    with pytest.raises(ValidationError, match="frozen"):
        params.build.seed = 3  # type: ignore[misc]


def test_a_category_that_does_not_exist_is_refused_with_those_that_do(write: Write) -> None:
    params = load_params(write("", "categories", ["bottle", "cable"]))
    params.require("cable")
    with pytest.raises(Refused, match="no category 'bolt'") as caught:
        params.require("bolt")
    assert "bottle, cable" in caught.value.expected
    assert "patchcore add bolt" in caught.value.remedy
    with pytest.raises(Refused, match="none yet"):
        Params().require("bolt")


def test_a_misspelt_key_is_named_before_a_wrong_value(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        PARAMS_FILE.read_text(encoding="utf-8").replace("  seed: 0", "  seed: x\n  sead: 0"), encoding="utf-8"
    )
    assert refusal(path).what.endswith("unknown key build.sead")


@pytest.mark.parametrize("spans", [[], ["06:00-14:00"], ["22:00-05:30", "12:00-00:00", "00:00-23:59"]])
def test_quiet_hours_are_spans_of_the_day(write: Write, spans: list[str]) -> None:
    assert load_params(write("schedule", "quiet_hours", spans)).schedule.quiet_hours == tuple(spans)


@pytest.mark.parametrize("value", [*CRON_OF_PREFECT, "*/15 6-22 * * mon-fri", "0 2 30 2 mon"])
def test_the_scheduler_takes_every_schedule_that_is_taken_here(value: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    assert CronSchedule(cron=value, timezone="UTC").cron == value == ScheduleParams(retrain=value).retrain


def test_the_modules_of_parameters_do_not_import_prefect() -> None:
    code = "import sys; import patchcore.config.params as p; p.ScheduleParams(retrain='@daily'); "
    code += "sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
