import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from patchcore._util.files import sha256_of
from patchcore.errors import Refused
from patchcore.extraction import weights
from patchcore.extraction.batching import create_network
from patchcore.extraction.weights import Weights, find_weights, load_state

PACKAGED = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


def random_weights(path: Path, backbone: str = "resnet18") -> Path:
    torch.manual_seed(0)
    save_file({name: value.contiguous() for name, value in create_network(backbone).state_dict().items()}, path)
    return path


@pytest.mark.parametrize("backbone", PACKAGED)
def test_the_weights_of_a_package_fit_tensor_by_tensor(backbone: str) -> None:
    found = find_weights(backbone)
    assert found.sha256 == sha256_of(found.path)
    state, own = load_state(found), create_network(backbone).state_dict()
    assert list(state) == list(own)
    assert all(state[name].shape == own[name].shape for name in own)
    # Trained, and each in its place: variances are not negative, means are not the ones of a fresh network.
    assert all((value >= 0).all() for name, value in state.items() if name.endswith("running_var"))
    assert not torch.equal(state["bn1.running_mean"], own["bn1.running_mean"])


def test_a_packages_file_with_other_bytes_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "weights.pth"
    shutil.copy(find_weights("efficientnet_lite0").path, damaged)
    with damaged.open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"\xff\xff")
    pinned = weights._PACKAGED["efficientnet_lite0"][1]
    monkeypatch.setattr(weights, "_usual_place", lambda _: (damaged, pinned))
    with pytest.raises(Refused, match="not the expected ones") as caught:
        find_weights("efficientnet_lite0")
    assert str(damaged) in str(caught.value)
    assert pinned in caught.value.expected


@pytest.mark.parametrize("backbone", ["resnet18", "wide_resnet50_2"])
def test_an_empty_torchvision_cache_is_refused_with_advice(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(Refused, match=f"no weights for {backbone}") as caught:
        find_weights(backbone)
    assert str(tmp_path / "hub/checkpoints" / backbone) in caught.value.got
    assert f"torchvision.models.{backbone}(weights='IMAGENET1K_V1')" in caught.value.remedy
    assert "extract.weights" in caught.value.remedy


def test_torchvisions_cache_is_found_where_torch_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCH_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
        place, digits = weights._usual_place("resnet18")
        assert place == Path(torch.hub.get_dir()) / "checkpoints/resnet18-f37072fd.pth"
        assert digits == "f37072fd"
        monkeypatch.delenv(name)
    cached = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"not the weights of that name")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(Refused, match="not the expected ones"):
        find_weights("resnet18")


def test_a_local_file_with_its_digest(tmp_path: Path) -> None:
    path = random_weights(tmp_path / "mine.safetensors")
    found = find_weights("resnet18", path, sha256_of(path))
    assert found == Weights("resnet18", path, sha256_of(path))
    state, own = load_state(found), create_network("resnet18")
    own.load_state_dict(state)
    torch.manual_seed(0)
    assert torch.equal(state["conv1.weight"], create_network("resnet18").state_dict()["conv1.weight"])


@pytest.mark.parametrize("sha256", ["0" * 64, None])
def test_a_local_file_needs_its_own_digest(tmp_path: Path, sha256: str | None) -> None:
    path = random_weights(tmp_path / "mine.safetensors")
    with pytest.raises(Refused, match="not the expected ones") as caught:
        find_weights("resnet18", path, sha256)
    assert str(path) in str(caught.value)
    assert sha256_of(path) in caught.value.got


def test_a_missing_local_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nowhere\.safetensors"):
        find_weights("resnet18", tmp_path / "nowhere.safetensors", "0" * 64)


@pytest.mark.parametrize("backbone", ["wide_resnet50_2", "efficientnet_lite0"])
def test_weights_of_another_backbone_do_not_fit(tmp_path: Path, backbone: str) -> None:
    path = random_weights(tmp_path / "resnet18.safetensors")
    with pytest.raises(Refused, match=f"do not fit {backbone}") as caught:
        load_state(Weights(backbone, path, sha256_of(path)))
    assert str(path) in str(caught.value)
    assert "tensors that differ" in caught.value.got


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    state = create_network("resnet18").state_dict() | {"layer3.0.conv1.weight": torch.zeros(3)}
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "odd.safetensors")
    with pytest.raises(Refused, match="do not fit resnet18") as caught:
        load_state(Weights("resnet18", tmp_path / "odd.safetensors", "0" * 64))
    assert caught.value.got == "1 tensors that differ, the first is layer3.0.conv1.weight"


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth", "empty.pth"])
def test_a_file_without_tensors_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else b"these are no tensors")
    with pytest.raises(Refused, match="cannot be read") as caught:
        load_state(Weights("resnet18", path, sha256_of(path)))
    assert name in str(caught.value)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    trap, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"weight": Trap(sprung)}, trap)
    with pytest.raises(Refused, match="cannot be read"):
        load_state(Weights("resnet18", trap, sha256_of(trap)))
    assert not sprung.exists()
    torch.load(trap, weights_only=False)
    assert sprung.exists()  # the trap works
