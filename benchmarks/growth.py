"""Time and peak memory of extract, build and score as a data set grows. Run: python benchmarks/growth.py.

Each figure comes from a separate process that runs the step as `patchcore` does, in a temporary workspace. If there are
too few solar cells, flipped and cropped copies with noise are added, the same for the same seed. The law is a power of
the number of images, fitted to the larger half of the sizes, where constant costs matter less.

The network is converted before the measurement, as it is once in each workspace, and banks are built without the
comparison of runtimes, which costs the same for any data set.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import Measured, Table, in_child, params, solar_cells
from patchcore.config.params import Params

_CATEGORY = "solar"
_WARM_UP = 12  # images, which fill the caches of converted networks and compiled code
_SCORED = 256  # images, whatever the size of the data set
_SERIES = {
    "extract": "extract",
    "build, 1 %": "build, 1 % of the patches",
    "build, rows": "build, a fixed number of rows",
    "score, 1 %": f"score {_SCORED} images, 1 % bank",
    "score, rows": f"score {_SCORED} images, bank of fixed size",
}


@dataclass(frozen=True)
class Point:
    """What one step took for one number of images."""

    images: int
    seconds: float
    peak: int
    rows: int


Points = dict[str, list[Point]]


def main() -> None:
    """Print the tables and draw the figure."""
    options = _options()
    found: Points = {name: [] for name in _SERIES}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        _require_space(Path(folder), max(options.images))
        real = [*solar_cells("poly"), *solar_cells("mono")]
        normals = grow(Path(folder), real, max(options.images), seed=0)
        for images in (_WARM_UP, *options.images):
            for name, point in _measure(Path(folder), normals[:images], options):
                if images == _WARM_UP:
                    continue
                found[name].append(point)
                print(f"{images} images, {name}: {point.seconds:.1f} s, {point.peak / 2**20:.0f} MiB", flush=True)
    _show(found)
    if options.plot:
        from benchmarks.growth_figure import draw

        draw(options.plot, {_SERIES[name]: _columns(points) for name, points in found.items() if len(points) > 1})


def grow(folder: Path, real: Sequence[Path], count: int, *, seed: int) -> list[Path]:
    """Write the requested number of images into ``folder``/images: the real ones first, then altered ones."""
    generator = np.random.default_rng(seed)
    target = folder / "images"
    target.mkdir()
    written = []
    for number in range(count):
        written.append(target / f"{number:05}.png")
        if number < len(real):
            shutil.copyfile(real[number], written[-1])
            continue
        with Image.open(real[number % len(real)]) as image:
            _altered(image, generator).save(written[-1], compress_level=1)
    return written


def _altered(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return a picture cropped by up to 15 pixels a side, perhaps flipped, with noise of two grey levels."""
    left, top, right, bottom = (int(edge) for edge in generator.integers(0, 16, 4))
    cropped = image.convert("L").resize(image.size, box=(left, top, image.width - right, image.height - bottom))
    for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
        cropped = cropped.transpose(flip) if generator.random() < 0.5 else cropped
    noisy = np.asarray(cropped) + generator.normal(0, 2, (image.height, image.width))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _measure(folder: Path, normals: Sequence[Path], options: argparse.Namespace) -> Iterator[tuple[str, Point]]:
    """Measure every step for some images in a workspace of their own, removed at the end."""
    root = folder / f"workspace{len(normals)}"
    _lay_out(root, normals, folder / "converted")
    builds = {"1 %": _building(0.01, None)} if len(normals) <= options.ratio_up_to else {}
    builds["rows"] = _building(0.5, options.rows)
    extracted = in_child(extract, root, params())
    yield "extract", _point(normals, extracted, rows=0)
    for kind, wanted in builds.items():
        built = in_child(build, root, wanted)
        yield f"build, {kind}", _point(normals, built, built.result)
        scored = in_child(score, root, solar_cells("poly", defective=True)[:_SCORED])
        yield f"score, {kind}", _point(normals, scored, built.result, scored.result)
    shutil.rmtree(root)


def _building(ratio: float, rows: int | None) -> Params:
    original = params(parity_images=0)
    block = type(original.build).model_validate(
        {**original.build.model_dump(), "coreset_ratio": ratio, "rows_at_most": rows}
    )
    return original.model_copy(update={"build": block})


def _point(normals: Sequence[Path], measured: Measured, rows: int, seconds: float | None = None) -> Point:
    return Point(len(normals), measured.seconds if seconds is None else seconds, measured.peak, rows)


def _lay_out(root: Path, normals: Sequence[Path], converted: Path) -> None:
    """Make a workspace with normal images, the other images that a manifest needs, and a shared cache."""
    from patchcore.config.workspace import Workspace
    from patchcore.dataset.manifest import scan, write_manifest

    workspace = Workspace(root)
    for target, images in (
        (workspace.good_normals(_CATEGORY), normals),
        (workspace.evaluation(_CATEGORY) / "good", normals[:1]),
        (workspace.evaluation(_CATEGORY) / "defective", solar_cells("poly", defective=True)[:1]),
    ):
        target.mkdir(parents=True)
        for image in images:
            shutil.copyfile(image, target / image.name)
    converted.mkdir(exist_ok=True)
    workspace.state.mkdir()
    workspace.runtime_cache.symlink_to(converted)
    write_manifest(workspace.manifest(_CATEGORY), scan(workspace, _CATEGORY))


def extract(root: Path, wanted: Params) -> None:
    """Run the step extract."""
    from patchcore.config.workspace import Workspace
    from patchcore.steps import extract as step

    step.run(Workspace(root), _CATEGORY, wanted)


def build(root: Path, wanted: Params) -> int:
    """Run the step build and return the rows of the bank."""
    from patchcore._util.files import read_json
    from patchcore.config.workspace import Workspace
    from patchcore.steps import build as step

    step.run(Workspace(root), _CATEGORY, wanted)
    return int(read_json(Workspace(root).build_metrics(_CATEGORY))["coreset"]["rows"])


def score(root: Path, images: Sequence[Path]) -> float:
    """Score decoded images with the bank, twice, and return the seconds of the second time."""
    from benchmarks.common import squares, timed
    from patchcore.bank.memory_bank import MemoryBank
    from patchcore.config.workspace import Workspace

    workspace = Workspace(root)
    bank = MemoryBank.load(workspace.bank(_CATEGORY), cache=workspace.runtime_cache)
    decoded = list(squares(images))
    return timed(lambda: bank.anomaly_maps(bank.score(decoded)), rounds=3)


def exponent(points: Sequence[Point], of: Sequence[float]) -> float:
    """Return the power of the number of images that the larger half of some values follows."""
    half = len(points) // 2
    images = [point.images for point in points]
    return float(np.polyfit(np.log(images[half:]), np.log(of[half:]), 1)[0])


def _show(found: Mapping[str, Sequence[Point]]) -> None:
    table = Table("Growth", "step", "images", "bank rows", "seconds", "ms an image", "peak memory, MiB")
    laws = Table("The law: seconds and peak memory as a power of the images", "step", "seconds", "peak memory")
    for name, points in found.items():
        for point in points:
            each = point.seconds / (_SCORED if name.startswith("score") else point.images)
            table.add(_SERIES[name], point.images, point.rows or "", point.seconds, each * 1e3, point.peak / 2**20)
        if len(points) > 2:
            seconds, peaks = [point.seconds for point in points], [float(point.peak) for point in points]
            laws.add(_SERIES[name], f"n^{exponent(points, seconds):.2f}", f"n^{exponent(points, peaks):.2f}")
    table.show()
    laws.show()


def _columns(points: Sequence[Point]) -> tuple[list[int], list[float], list[float]]:
    """Return images, seconds and MiB."""
    return (
        [point.images for point in points],
        [point.seconds for point in points],
        [point.peak / 2**20 for point in points],
    )


def _require_space(folder: Path, images: int) -> None:
    needed, free = images * 700_000, shutil.disk_usage(folder).free  # bytes: features, and the picture twice
    if needed > free:
        raise SystemExit(f"{folder}: {free / 1e9:.0f} GB free, {needed / 1e9:.0f} GB needed; name another --folder")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--ratio-up-to", type=int, default=3000, help="images up to which 1 %% banks are built")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the banks of fixed size")
    parser.add_argument("--folder", type=Path, help="where the temporary workspaces are made")
    parser.add_argument("--plot", type=Path, help="the figure, such as docs/assets/growth.png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
