"""Taking in a new category."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import new_folder, sha256_of, write_bytes
from patchcore._util.progress import progress
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.params import CategoryName, Params, load_params
from patchcore.config.params_file import with_category
from patchcore.config.workspace import Workspace, pointer_of
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.digests import FileDigests
from patchcore.dataset.manifest import NO_MASKS, NOTE, normal_images, pair_masks
from patchcore.errors import CategoryExists, InvalidName, InvalidPath, NoImages
from patchcore.images.decoding import list_images
from patchcore.lifecycle.dataset_records import record_dataset
from patchcore.lifecycle.services import Services
from patchcore.lifecycle.setup.results import Added


@dataclass(frozen=True)
class NewCategory:
    """A category whose files are in the workspace.

    Attributes:
        normals: Files in train/good.
        evaluation_images: Files in the folders of test.
        masks: Files in the folders of ground_truth.
        commit: The git commit, 40 hexadecimal digits; None where params.yaml says not to commit.
    """

    normals: int
    evaluation_images: int
    masks: int
    commit: str | None


def add(services: Services, category: str, source: Path) -> Added:
    """Take a folder in MVTec layout as a new category, and record its first data-set version in the ledger.

    Args:
        services: The opened workspace.
        category: The name of the kind of part.
        source: The folder to copy.

    Raises:
        Refused: See `take_in`.
        Fault: The ledger or the DVC remote does not take the data.
    """
    with services.alone():
        taken = take_in(services.workspace, category, source, services.digests)
        dataset = record_dataset(services, category)
        if services.params.versioning.push:
            services.versioning.push()
    counts = {"normals": taken.normals, "evaluation_images": taken.evaluation_images, "masks": taken.masks}
    version = {"dataset_version": dataset.number, "dataset_sha256": dataset.sha256}
    return Added.model_validate({"category": category, **counts, "commit": taken.commit, **version})


def take_in(workspace: Workspace, category: str, source: Path, digests: FileDigests | None = None) -> NewCategory:
    """Copy a folder in MVTec layout as a new category, track it with DVC, list it in params.yaml, and commit.

    The layout is train/good/*, test/good/*, test/<defect>/* and, optionally, ground_truth/<defect>/<stem>_mask.png;
    deeper folders are copied too. The source is only read. After a crash the same call completes the first.

    Args:
        workspace: The workspace.
        category: The name of the kind of part.
        source: The folder to copy.
        digests: Remembers the digests of the images.

    Raises:
        InvalidName: The name is not a category name.
        CategoryExists: The category exists.
        InvalidPath: The source is missing, or another folder has the path of the category.
        NoImages: The source has no normal or no evaluation images.
        InvalidLayout: Labels and masks do not fit; see `patchcore.dataset.manifest.pair_masks`.
    """
    _require_name(category)
    params = load_params(workspace.params)
    versioning = Versioning(workspace)
    _require_new(workspace, versioning, params, category)
    files = _mvtec_files(source)
    _copy(files, source, workspace.category(category))
    folders = [pointer.with_suffix("") for pointer in workspace.pointers(category)]
    versioning.track(folders)
    record_arrivals(
        workspace.arrivals(category), [entry.sha256 for entry in normal_images(workspace, category, digests)], params
    )
    _list_category(workspace, category)
    counts = {part: sum(file.parts[0] == part for file in files) for part in ("train", "test", "ground_truth")}
    commit = None
    if params.versioning.commit:
        tracked = [workspace.arrivals(category), *(pointer_of(folder) for folder in folders)]
        ignore_file = workspace.category(category) / workspace.ignore_file.name
        message = f"Add category {category}: {counts['train']} normal and {counts['test']} evaluation images"
        commit = versioning.commit([workspace.params, ignore_file, *tracked], message)
    return NewCategory(counts["train"], counts["test"], counts["ground_truth"], commit)


def _list_category(workspace: Workspace, category: str) -> None:
    text = workspace.params.read_text(encoding="utf-8")
    listed = with_category(text, workspace.params, category)
    if listed != text:
        write_bytes(workspace.params, listed.encode())


def _require_name(category: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(CategoryName).validate_python(category)
    except ValidationError as error:
        raise InvalidName(
            f"{category!r} is not a category name",
            got=repr(category),
            expected="1 to 64 letters, digits, _ and -, beginning with a letter or digit",
            remedy="choose another name",
        ) from error


def _require_new(workspace: Workspace, versioning: Versioning, params: Params, category: str) -> None:
    """Refuse a category that exists, unless a crash between params.yaml and the commit left it incomplete."""
    if category not in params.categories:
        return
    committed = versioning.committed_text(workspace.params)
    if params.versioning.commit and not _lists(committed, category):
        return
    raise CategoryExists(
        f"category {category!r} exists",
        got="its name in params.yaml",
        expected="a new name",
        remedy=f"bring new normal images with: patchcore ingest {category} FOLDER",
    )


def _lists(params_text: str | None, category: str) -> bool:
    from ruamel.yaml import YAML

    found = YAML(typ="safe", pure=True).load(params_text) if params_text else None
    return category in ((found or {}).get("categories") or ())


def _mvtec_files(source: Path) -> list[Path]:
    """Return the files to copy, relative to the source, sorted.

    Raises:
        InvalidPath: The source is missing, or a link in it has no target.
        NoImages: It has no normal or no evaluation images.
        InvalidLayout: Its masks do not fit.
    """
    if not source.is_dir():
        got = "a file" if source.exists() else "nothing"
        raise InvalidPath(f"no folder {source}", got=got, expected="a folder in MVTec layout", remedy="check the path")
    normals = list_images(source / "train" / "good")
    pairs = pair_masks(source / "test", source / "ground_truth")
    for images, name in ((normals, "train/good"), (pairs, "test")):
        if not images:
            got = "an empty folder" if (source / name).is_dir() else "no such folder"
            expected = "images in train/good, test/good and test/<defect>"
            raise NoImages(f"no images in {source / name}", got=got, expected=expected, remedy="put them there")
    files = [*normals, *pairs, *sorted({mask for mask in pairs.values() if mask})]
    for file in files:
        if not file.exists():
            raise InvalidPath(
                f"{file} leads nowhere", got="a broken link", expected="a file", remedy="correct or remove it"
            )
    return [file.relative_to(source) for file in files]


def _copy(files: list[Path], source: Path, target: Path) -> None:
    """Copy the files in one step; accept a target that holds the same already, as after a crash.

    Raises:
        InvalidPath: The target exists with other content.
    """
    if target.exists():
        if {file: sha256_of(source / file) for file in files} == _content(target):
            return
        raise InvalidPath(
            f"{target} exists", got="other content than the source's", expected="no folder", remedy="move it away"
        )
    with new_folder(target) as folder, progress("copying", len(files)) as advance:
        for done, file in enumerate(files, start=1):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, folder / file)
            advance(done)
        if not (folder / "ground_truth").exists():  # DVC does not keep empty folders
            write_bytes(folder / "ground_truth" / NOTE, NO_MASKS.encode())


def _content(folder: Path) -> dict[Path, str]:
    files = (file for part in ("train", "test", "ground_truth") for file in list_images(folder / part))
    return {file.relative_to(folder): sha256_of(file) for file in files if file.name != NOTE}
