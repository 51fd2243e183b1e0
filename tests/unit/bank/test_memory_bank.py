import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from patchcore._util.files import canonical_json, read_json, sha256_of
from patchcore.bank.memory_bank import ARRAYS, CONFIG, IMAGES, BankArrays, MemoryBank, save
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.extraction import weights
from patchcore.extraction.weights import find_weights
from patchcore.images.decoding import load_rgb
from tests.support.places import DATA

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def built(built_category: Workspace) -> Path:
    return built_category.bank("part")


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bank"))


def save_again(bank: MemoryBank, folder: Path, parity: object = "as it is", **changes: NDArray[Any]) -> str:
    description = bank.config.model_dump(mode="json", exclude={"format", "files", "checksum"})
    if parity != "as it is":
        description["parity"] = parity
    return save(folder, BankArrays(**{**vars(bank.arrays), **changes}), bank.images, description)


def refusal(folder: Path, name: str) -> Refused:
    with pytest.raises(Refused) as caught:
        MemoryBank.load(folder)
    assert str(folder / name) in str(caught.value)
    assert caught.value.exit_code == 3
    return caught.value


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], *, sign: bool = True) -> None:
    """Change bank.json as somebody with an editor would; `sign` gives it a checksum that fits."""
    raw = read_json(folder / CONFIG)
    change(raw)
    if sign:
        raw.pop("checksum", None)
        raw["checksum"] = hashlib.sha256(canonical_json(raw)).hexdigest()
    (folder / CONFIG).write_bytes(canonical_json(raw))


def test_scores_are_bit_equal_in_another_process(built: Path, draw: Draw, tmp_path: Path) -> None:
    images = np.stack([draw(number, scratch=number % 2 == 0) for number in range(6)])
    np.save(tmp_path / "images.npy", images)
    program = """
import sys, numpy
from patchcore.bank.memory_bank import MemoryBank
folder, images, target = sys.argv[1:]
bank = MemoryBank.load(__import__("pathlib").Path(folder))
scores = bank.score(list(numpy.load(images)))
numpy.savez(target, maps=bank.anomaly_maps(scores), **{"image": scores.image, "nearest": scores.nearest})
"""
    command = [sys.executable, "-c", program, str(built), str(tmp_path / "images.npy"), str(tmp_path / "scores.npz")]
    subprocess.run(command, check=True, env=os.environ)
    bank = MemoryBank.load(built)
    here = bank.score(list(images))
    with np.load(tmp_path / "scores.npz") as there:
        np.testing.assert_array_equal(there["image"], here.image)
        np.testing.assert_array_equal(there["nearest"], here.nearest)
        np.testing.assert_array_equal(there["maps"], bank.anomaly_maps(here))


def test_company_and_order_change_no_score(built: Path, draw: Draw) -> None:
    bank = MemoryBank.load(built)
    images = [draw(number) for number in range(7)]
    together = bank.score(images).image
    np.testing.assert_array_equal(np.concatenate([bank.score([image]).image for image in images]), together)
    np.testing.assert_array_equal(bank.score(images[::-1]).image[::-1], together)


def test_a_stream_gives_the_same_scores_batch_by_batch(built: Path, draw: Draw) -> None:
    bank = MemoryBank.load(built)
    images, taken = [draw(number) for number in range(30)], []

    def stream() -> Iterator[NDArray[np.uint8]]:
        for number, image in enumerate(images):
            taken.append(number)
            yield image

    scores = bank.score_stream(stream())
    first = next(scores)
    size = bank.config.extractor.batch_size
    # No more are read ahead than the cores are busy with: memory does not grow with the stream.
    assert len(taken) <= 2 * size * (os.cpu_count() or 1) + size
    batches = [first, *scores]
    assert [len(batch.image) for batch in batches] == [size] * 7 + [2]
    np.testing.assert_array_equal(np.concatenate([batch.image for batch in batches]), bank.score(images).image)


def test_many_threads_may_use_a_bank_that_nobody_has_used_yet(built: Path, draw: Draw) -> None:
    bank, images = MemoryBank.load(built), [draw(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        scores = list(pool.map(lambda image: bank.score([image]).image[0], images))
    np.testing.assert_array_equal(scores, MemoryBank.load(built).score(images).image)


def test_with_a_kept_network_scoring_imports_neither_torch_nor_timm(built: Path, draw: Draw, tmp_path: Path) -> None:
    bank = MemoryBank.load(built)
    expected = bank.score([draw(0)]).image[0]  # the network is converted and kept by now
    np.save(tmp_path / "image.npy", draw(0))
    program = """
import sys, numpy
from pathlib import Path
from patchcore.bank.memory_bank import MemoryBank
bank = MemoryBank.load(Path(sys.argv[1]))
scores = bank.score([numpy.load(sys.argv[2])])
bank.anomaly_maps(scores), bank.p_values(scores.image), bank.anomalous(scores.image)
print(float(scores.image[0]), *sorted({"torch", "timm", "torchvision"} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", program, str(built), str(tmp_path / "image.npy")]
    said = subprocess.run(command, check=True, env=os.environ, capture_output=True, text=True).stdout.split()
    assert said == [str(float(expected))]


def test_the_other_runtime_scores_where_the_two_were_found_to_agree(built: Path, draw: Draw, tmp_path: Path) -> None:
    bank, images = MemoryBank.load(built), [draw(number) for number in range(300, 303)]
    agreed = {"runtime": "torch", "runtime_version": "2", "precision": "float32", "images": 9} | {
        "feature_error": 1e-5,
        "score_error": 1e-6,
        "flips": 0,
        "passed": True,
    }
    save_again(bank, tmp_path / "agreed", parity=agreed)
    other = MemoryBank.load(tmp_path / "agreed", runtime="torch")
    assert (bank.extractor.config.runtime, other.extractor.config.runtime) == ("openvino", "torch")
    np.testing.assert_allclose(other.score(images).image, bank.score(images).image, rtol=1e-4)
    for parity in (None, {**agreed, "passed": False}):
        save_again(bank, tmp_path / "bank", parity=parity)
        assert MemoryBank.load(tmp_path / "bank").extractor.config.runtime == "openvino"
        with pytest.raises(Refused, match="torch in float32 may not score for this bank"):
            MemoryBank.load(tmp_path / "bank", runtime="torch")
        with pytest.raises(Refused, match="openvino in bfloat16 may not score for this bank"):
            MemoryBank.load(tmp_path / "bank", precision="bfloat16")


def test_other_weights_than_the_banks_are_refused(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = find_weights("efficientnet_lite1").path
    monkeypatch.setattr(weights, "_usual_place", lambda _: (tmp_path / "none", "0" * 64))
    with pytest.raises(Refused, match="that this bank was built with are missing") as caught:
        _ = MemoryBank.load(built, weights=other).extractor
    assert str(other) in caught.value.got


def test_a_bank_decides_and_explains(built: Path, draw: Draw) -> None:
    bank = MemoryBank.load(built)
    scores = bank.score([draw(number, scratch=number >= 310) for number in range(300, 320)])
    anomalous, p_values = bank.anomalous(scores.image), bank.p_values(scores.image)
    np.testing.assert_array_equal(anomalous, scores.image > bank.threshold)
    assert not bank.anomalous(np.array([bank.threshold], dtype=np.float32)).any()  # larger, not as large
    assert anomalous[:10].sum() < 5
    assert anomalous[10:].all()
    assert (p_values[10:] == 1 / (1 + len(bank.arrays.calibration))).all()
    assert bank.anomaly_maps(scores).shape == (20, 96, 96)
    image, row, column = bank.arrays.sources[scores.nearest[1, 0, 0]]
    assert set(bank.images[image]) == {"path", "sha256"}
    assert 0 <= row < 12
    assert 0 <= column < 12


def test_images_of_any_size_are_scored(built: Path, draw: Draw) -> None:
    large = np.repeat(np.repeat(draw(0), 2, axis=0), 3, axis=1)
    assert MemoryBank.load(built).score([large, draw(0)]).image.shape == (2,)


def test_a_bank_saved_again_has_the_same_bytes(built: Path, tmp_path: Path) -> None:
    bank = MemoryBank.load(built)
    assert save_again(bank, tmp_path / "bank") == bank.sha256 == sha256_of(built / CONFIG)
    for name in (CONFIG, ARRAYS, IMAGES):
        assert (tmp_path / "bank" / name).read_bytes() == (built / name).read_bytes()
    assert {path.name for path in (tmp_path / "bank").iterdir()} == {CONFIG, ARRAYS, IMAGES}


def test_the_bytes_are_those_of_docs_bank_format(built: Path) -> None:
    bank = MemoryBank.load(built)
    content = (built / ARRAYS).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    kinds = {"rows": "F32", "radii": "F64", "sources": "I32", "calibration": "F32"}
    assert {name: entry["dtype"] for name, entry in header.items()} == kinds
    for name, array in vars(bank.arrays).items():
        start, stop = header[name]["data_offsets"]
        assert content[8 + length + start : 8 + length + stop] == array.astype(array.dtype.newbyteorder("<")).tobytes()
    raw = read_json(built / CONFIG)
    assert raw["format"] == 2
    assert raw["files"] == {name: sha256_of(built / name) for name in (ARRAYS, IMAGES)}
    checksum = raw.pop("checksum")
    assert checksum == hashlib.sha256(canonical_json(raw)).hexdigest()


@pytest.mark.parametrize("name", [ARRAYS, IMAGES])
def test_a_flipped_byte_is_refused_by_file(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    for position in (0, 9, len(content) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[position] ^= 1
        (copy / name).write_bytes(flipped)
        assert "sha256" in refusal(copy, name).got
    (copy / name).write_bytes(content)
    MemoryBank.load(copy)


def test_a_flipped_byte_of_the_description_is_refused_wherever_it_is(copy: Path) -> None:
    content = (copy / CONFIG).read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1  # many of these are JSON still: another digit, another letter
        (copy / CONFIG).write_bytes(flipped)
        refusal(copy, CONFIG)
    (copy / CONFIG).write_bytes(content)
    MemoryBank.load(copy)


@pytest.mark.parametrize("name", [CONFIG, ARRAYS, IMAGES])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert "no such file" in refusal(copy, name).got.lower()


def test_a_truncated_file_is_refused(copy: Path) -> None:
    for name in (ARRAYS, IMAGES, CONFIG):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        refusal(copy, name)
        (copy / name).write_bytes(content)


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_an_unknown_format_is_refused(copy: Path, version: object) -> None:
    rewrite(copy, lambda raw: raw.update(format=version))
    error = refusal(copy, CONFIG)
    assert (error.got, error.expected) == (f"format {version}", "format 2")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda raw: raw.update(colour="red"), "colour"),
        (lambda raw: raw["scoring"].update(colour="red"), "scoring.colour"),
        (lambda raw: raw.pop("threshold"), "threshold"),
        (lambda raw: raw["extractor"].update(precision="float8"), "extractor.precision"),
        (lambda raw: raw["coreset"].update(rows="many"), "coreset.rows"),
    ],
)
def test_a_field_too_many_too_few_or_of_another_type_is_named(
    copy: Path, change: Callable[[dict[str, Any]], object], field: str
) -> None:
    rewrite(copy, change)
    assert refusal(copy, CONFIG).got.startswith(field)


def test_a_threshold_changed_by_hand_is_refused(copy: Path) -> None:
    rewrite(copy, lambda raw: raw["threshold"].update(value=1e9), sign=False)
    assert "checksum" in refusal(copy, CONFIG).got


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"format": 1', b'{"format": NaN}'])
def test_what_is_not_a_description_is_refused(copy: Path, content: bytes) -> None:
    (copy / CONFIG).write_bytes(content)
    refusal(copy, CONFIG)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": np.zeros((3, 152), np.float32)},
        {"rows": np.zeros(5, np.float32)},
        {"radii": np.zeros(3)},
        {"radii": np.zeros(1, np.float32)},
        {"sources": np.zeros((3, 2), np.int32)},
        {"calibration": np.zeros(99, np.float32)},
    ],
)
def test_arrays_that_do_not_fit_the_description_are_refused(
    built: Path, tmp_path: Path, changes: dict[str, NDArray[Any]]
) -> None:
    save_again(MemoryBank.load(built), tmp_path / "bank", **changes)
    assert next(iter(changes)) in refusal(tmp_path / "bank", ARRAYS).got


@pytest.mark.parametrize("missing", [True, False])
def test_an_array_too_few_or_too_many_is_refused(copy: Path, missing: bool) -> None:
    arrays = dict(vars(MemoryBank.load(copy).arrays))
    if missing:
        del arrays["radii"]
    else:
        arrays["extra"] = np.zeros(3, np.float32)
    save_file(arrays, copy / ARRAYS)
    rewrite(copy, lambda raw: raw["files"].update({ARRAYS: sha256_of(copy / ARRAYS)}))
    assert "radii" in refusal(copy, ARRAYS).expected


def test_no_pickle_is_read(copy: Path) -> None:
    np.save(copy / "arrays.npy", np.array([{}], dtype=object), allow_pickle=True)
    (copy / "arrays.npy").replace(copy / ARRAYS)
    rewrite(copy, lambda raw: raw["files"].update({ARRAYS: sha256_of(copy / ARRAYS)}))
    refusal(copy, ARRAYS)


def test_the_frozen_bank_still_loads_and_says_the_same() -> None:
    name, number = "frozen_bank_2", 2
    frozen = read_json(DATA / f"{name}.json")
    assert read_json(DATA / name / CONFIG)["format"] == number
    bank = MemoryBank.load(DATA / name)
    assert bank.sha256 == frozen["sha256"]
    arrays = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in vars(bank.arrays).items()}
    assert arrays == frozen["arrays"]
    paths = [DATA / "frozen_images" / name for name in frozen["images"]]
    scores = bank.score([load_rgb(path, bank.config.extractor.image_size) for path in paths]).image
    said = list(frozen["images"].values())
    # Another version of the runtime may sum in another order.
    np.testing.assert_allclose(scores, [image["score"] for image in said], rtol=1e-4)
    assert bank.p_values(scores).tolist() == [image["p_value"] for image in said]
    assert bank.anomalous(scores).tolist() == [image["anomalous"] for image in said]


def test_the_frozen_bank_of_format_2_has_what_is_new_in_it() -> None:
    bank = MemoryBank.load(DATA / "frozen_bank_2")
    assert bank.config.coreset.arrivals == 2
    assert bank.config.parity is not None
    assert bank.config.parity.passed
    images = [load_rgb(path, 64) for path in sorted((DATA / "frozen_images").iterdir())]
    other = MemoryBank.load(DATA / "frozen_bank_2", runtime="torch")
    np.testing.assert_allclose(other.score(images).image, bank.score(images).image, rtol=1e-4)
