import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from patchcore._util.files import sha256_of
from patchcore.config.params import ExtractParams, Params
from patchcore.errors import Fault, Refused
from patchcore.extraction.batching import create_network
from patchcore.extraction.extractor import Extractor, extractor_of, open_extractor


@pytest.fixture(scope="module")
def resnet_params(tmp_path_factory: pytest.TempPathFactory, small_params: Params) -> ExtractParams:
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    torch.manual_seed(0)
    save_file({name: value.contiguous() for name, value in create_network("resnet18").state_dict().items()}, path)
    return small_params.extract.model_copy(
        update={
            "backbone": "resnet18",
            "layers": ("layer2", "layer3"),
            "weights": path,
            "weights_sha256": sha256_of(path),
            "image_size": 64,
        }
    )


def test_it_tells_all_that_identifies_its_features(extractor: Extractor, small_params: Params) -> None:
    config = extractor.config
    assert config.weights_sha256.startswith("579344248a93e230")
    assert (config.runtime, config.precision) == ("openvino", "float32")  # auto, and it is installed
    assert config.runtime_version == version("openvino")
    assert (config.backbone, config.image_size, config.batch_size) == ("efficientnet_lite0", 96, 4)
    assert config.layers == small_params.extract.layers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights_sha256", "0" * 64),
        ("layers", ("blocks.2",)),
        ("image_size", 128),
        ("pool", 5),
        ("batch_size", 1),
        ("runtime", "torch"),
        ("precision", "bfloat16"),
    ],
)
def test_the_fingerprint_changes_with_everything_that_may_change_a_feature(
    extractor: Extractor, name: str, value: object
) -> None:
    other = extractor.config.model_copy(update={name: value})
    assert Extractor(other, extractor._weights).fingerprint != extractor.fingerprint
    assert Extractor(extractor.config, extractor._weights).fingerprint == extractor.fingerprint


def test_a_torchvision_backbone_with_local_weights(resnet_params: ExtractParams) -> None:
    opened = open_extractor(resnet_params)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    features = opened.network(pixels)
    assert features.shape == (2, 8, 8, 384)
    again = extractor_of(opened.config, resnet_params.weights)
    assert again.fingerprint == opened.fingerprint
    np.testing.assert_array_equal(again.network(pixels), features)


def test_the_weights_of_then_are_asked_for(
    resnet_params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = open_extractor(resnet_params).config
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(Refused, match="the weights of resnet18 that this bank was built with are missing"):
        extractor_of(config)
    with pytest.raises(Refused, match="are missing"):
        extractor_of(config.model_copy(update={"weights_sha256": "0" * 64}), resnet_params.weights)


def test_the_network_is_loaded_when_it_is_needed_and_a_wrong_layer_is_refused(small_params: Params) -> None:
    wrong = open_extractor(small_params.extract.model_copy(update={"layers": ("blocks.2", "layer3")}))
    with pytest.raises(Refused, match="layer3") as caught:
        _ = wrong.network
    assert caught.value.exit_code == 3
    assert "extract.layers" in caught.value.remedy


def test_the_runtime_at_work_counts_and_not_the_one_that_built_the_bank(extractor: Extractor) -> None:
    older = Extractor(extractor.config.model_copy(update={"runtime_version": "2.6.0"}), extractor._weights)
    assert older.fingerprint == extractor.fingerprint  # its features are computed here and now


def test_the_runtime_that_is_named_is_taken(small_params: Params) -> None:
    named = open_extractor(small_params.extract.model_copy(update={"runtime": "torch"}))
    assert (named.config.runtime, named.config.runtime_version) == ("torch", version("torch"))
    assert named.at_work == f"torch {version('torch')} float32"


def test_a_runtime_that_is_not_installed_is_a_fault_and_auto_does_without(
    small_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    assert open_extractor(small_params.extract).config.runtime == "torch"
    with pytest.raises(Fault, match="openvino") as caught:
        open_extractor(small_params.extract.model_copy(update={"runtime": "openvino"}))
    assert "extract.runtime" in caught.value.remedy


def test_torch_without_the_instructions_falls_back_to_float32_with_a_warning() -> None:
    program = """
import logging
from patchcore.extraction.runtimes.precision import resolve_precision
logging.basicConfig(format="%(levelname)s %(message)s")
print(resolve_precision("torch", "bfloat16"))
"""
    # oneDNN, which computes for torch, takes this for the instructions that the CPU has.
    without = {**os.environ, "DNNL_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", program], check=True, env=without, capture_output=True, text=True)
    assert done.stdout.strip() == "float32"
    assert "WARNING this CPU has no bfloat16 instructions for torch: float32 is used" in done.stderr


def test_named_weights_are_kept_for_the_banks_that_were_built_with_them(
    resnet_params: ExtractParams, small_params: Params, tmp_path: Path
) -> None:
    assert resnet_params.weights is not None
    kept, named = tmp_path / "kept", tmp_path / resnet_params.weights.name
    shutil.copyfile(resnet_params.weights, named)
    config = open_extractor(resnet_params.model_copy(update={"weights": named}), keep=kept).config
    assert [path.name for path in kept.iterdir()] == [f"{config.weights_sha256}{named.suffix}"]
    named.unlink()  # params.yaml names other weights by now
    assert extractor_of(config, kept).fingerprint
    # A bank built with the packaged weights finds them beside the kept ones.
    packaged = open_extractor(small_params.extract, keep=kept).config
    assert extractor_of(packaged, kept).fingerprint
    assert len(list(kept.iterdir())) == 1


def test_a_relative_path_of_weights_is_relative_to_the_workspace(
    resnet_params: ExtractParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resnet_params.weights is not None
    relative = resnet_params.model_copy(update={"weights": Path(resnet_params.weights.name)})
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(Refused, match="no weights for resnet18"):
        open_extractor(relative)
    assert open_extractor(relative, root=resnet_params.weights.parent).config.backbone == "resnet18"
