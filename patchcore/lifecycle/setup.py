"""Workspaces: making one, and taking in a new category."""

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import patchcore
from patchcore._util.files import new_folder, sha256_of, write_bytes
from patchcore._util.progress import progress
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.params import CategoryName, Params, load_params
from patchcore.config.workspace import Workspace, find_workspace, pointer_of
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import NOTE, normal_images, pair_masks
from patchcore.errors import Refused
from patchcore.images.decoding import list_images

_PACKAGE = Path(patchcore.__file__).resolve().parent
_IGNORED = ("/.patchcore/", "/work/", "/drop/", "/quarantine/", "/batches/", "/archive/", "/dvc_plots/")
_NO_MASKS = "This category has no masks: pixel metrics are not measured.\n"


@dataclass(frozen=True)
class Added:
    """A category that was taken in.

    Attributes:
        category: Its name.
        normals: Files in train/good.
        evaluation_images: Files in the folders of test.
        masks: Files in the folders of ground_truth.
        commit: The git commit, 40 hexadecimal digits; None where params.yaml says not to commit.
    """

    category: str
    normals: int
    evaluation_images: int
    masks: int
    commit: str | None


def init(folder: Path) -> Workspace:
    """Make a folder a workspace: git, DVC, params.yaml, dvc.yaml, a first commit.

    What is there already stays as it is, so that doing it twice changes nothing and a crash is picked up.

    Args:
        folder: The folder; it is made if it does not exist.

    Raises:
        Refused: a file stands where the folder should be; or the folder's path has a character that the addresses of
            databases cannot carry.
        Fault: git is missing or fails.
    """
    _require_plain_path(folder.resolve())
    if folder.exists() and not folder.is_dir():
        raise Refused(f"no workspace at {folder}", got="a file", expected="a folder", remedy="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(folder.resolve())
    versioning = Versioning(workspace)
    kept = versioning.initialise()
    kept += [workspace.params, workspace.pipeline, workspace.ignore_file]
    new = [workspace.ignore_file] if _ignore_what_the_machine_keeps(workspace) else []
    for file, content in ((workspace.params, _template_params()), (workspace.pipeline, _template("dvc.yaml"))):
        if not file.exists():
            write_bytes(file, content)
    new += [file for file in kept if versioning.committed_text(file) is None]  # a person's own edits stay theirs
    versioning.commit(new, "Make a workspace")
    return find_workspace(workspace.root)


def add(workspace: Workspace, category: str, source: Path) -> Added:
    """Take a folder in MVTec layout as a new category: copied, DVC-added, in params.yaml, committed.

    The layout is train/good/*, test/good/*, test/<defect>/* and, optionally, ground_truth/<defect>/<stem>_mask.png;
    folders in those are taken with all that is in them. The source is only read. After a crash the same call completes
    what was begun.

    Args:
        workspace: The workspace.
        category: The name of the kind of part.
        source: The folder to copy.

    Raises:
        Refused: the name is not a category name, the category exists, or the source is no such folder: see
            `patchcore.dataset.manifest.pair_masks` for what is asked of labels and masks.
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
        workspace.arrivals(category), [entry.sha256 for entry in normal_images(workspace, category)], params
    )
    _list_category(workspace, category)
    counts = {part: sum(file.parts[0] == part for file in files) for part in ("train", "test", "ground_truth")}
    commit = None
    if params.versioning.commit:
        tracked = [workspace.arrivals(category), *(pointer_of(folder) for folder in folders)]
        ignore_file = workspace.category(category) / workspace.ignore_file.name
        message = f"Add category {category}: {counts['train']} normal and {counts['test']} evaluation images"
        commit = versioning.commit([workspace.params, ignore_file, *tracked], message)
    return Added(category, counts["train"], counts["test"], counts["ground_truth"], commit)


def _require_plain_path(folder: Path) -> None:
    # MLflow and Prefect pass the paths of their databases around in URLs, and decode them more than once.
    if found := sorted({sign for sign in str(folder) if sign in "?%"}):
        raise Refused(
            f"no workspace at {folder}",
            got=f"a path with {' and '.join(found)}",
            expected="a path without ? and %, which database addresses cannot carry",
            remedy="name another folder",
        )


def _template(name: str) -> bytes:
    """Return dvc.yaml or params.yaml: a wheel brings them along, a clone has them at its top."""
    packed = _PACKAGE / "template" / name
    return (packed if packed.is_file() else _PACKAGE.parent / name).read_bytes()


def _template_params() -> bytes:
    """Return params.yaml without categories: a clone that serves as a workspace has its own in there."""
    return _with_categories(_template("params.yaml"), keep=False)


def _with_categories(text: bytes, new: str | None = None, *, keep: bool = True) -> bytes:
    """Return params.yaml with a category more, or with none; comments and the order of keys stay."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class WithNull(RoundTripRepresenter):
        """Writes `null` where the library would write nothing at all."""

    WithNull.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = WithNull
    yaml.width = 120
    yaml.preserve_quotes = True
    document = yaml.load(text)
    categories = document["categories"]
    if not keep:
        categories.clear()
    if new is not None and new not in categories:
        categories.append(new)
    categories.fa.set_flow_style()  # [bottle, cable] on the line of the key, before its comment
    stream = io.BytesIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _list_category(workspace: Workspace, category: str) -> None:
    text = workspace.params.read_bytes()
    listed = _with_categories(text, category)
    if listed != text:
        write_bytes(workspace.params, listed)


def _ignore_what_the_machine_keeps(workspace: Workspace) -> bool:
    """Add to .gitignore what it lacks, and return whether it lacked anything."""
    file = workspace.ignore_file
    present = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    missing = [line for line in _IGNORED if line not in present]
    if missing:
        write_bytes(file, "\n".join([*present, *missing, ""]).encode())
    return bool(missing)


def _require_name(category: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(CategoryName).validate_python(category)
    except ValidationError as error:
        raise Refused(
            f"{category!r} is no category name",
            got=repr(category),
            expected="1 to 64 letters, digits, _ and -, a letter or digit first",
            remedy="choose another name",
        ) from error


def _require_new(workspace: Workspace, versioning: Versioning, params: Params, category: str) -> None:
    """Refuse a category that exists, unless a crash between params.yaml and the commit left it half added."""
    if category not in params.categories:
        return
    committed = versioning.committed_text(workspace.params)
    if params.versioning.commit and not _lists(committed, category):
        return
    raise Refused(
        f"category {category!r} exists",
        got="its name in params.yaml",
        expected="a new name",
        remedy=f"bring new normal images with: patchcore ingest {category} FOLDER",
    )


def _lists(params_text: str | None, category: str) -> bool:
    from ruamel.yaml import YAML

    return params_text is not None and category in YAML(typ="safe", pure=True).load(params_text)["categories"]


def _mvtec_files(source: Path) -> list[Path]:
    """Return the files to copy, relative to the source, sorted.

    Raises:
        Refused: the source is missing, has no normal or no evaluation images, or its masks do not fit; or a link
            in it leads nowhere.
    """
    if not source.is_dir():
        got = "a file" if source.exists() else "nothing"
        raise Refused(f"no folder {source}", got=got, expected="a folder in MVTec layout", remedy="check the path")
    normals = list_images(source / "train" / "good")
    pairs = pair_masks(source / "test", source / "ground_truth")
    for images, name in ((normals, "train/good"), (pairs, "test")):
        if not images:
            got = "an empty folder" if (source / name).is_dir() else "no such folder"
            expected = "images in train/good, test/good and test/<defect>"
            raise Refused(f"no images in {source / name}", got=got, expected=expected, remedy="put them there")
    files = [*normals, *pairs, *sorted({mask for mask in pairs.values() if mask})]
    for file in files:
        if not file.exists():
            raise Refused(f"{file} leads nowhere", got="a broken link", expected="a file", remedy="mend or remove it")
    return [file.relative_to(source) for file in files]


def _copy(files: list[Path], source: Path, target: Path) -> None:
    """Copy the files in one step; accept a target that holds the same already, as after a crash.

    Raises:
        Refused: the target exists with another content.
    """
    if target.exists():
        if {file: sha256_of(source / file) for file in files} == _content(target):
            return
        raise Refused(
            f"{target} exists", got="another content than the source's", expected="no folder", remedy="move it away"
        )
    with new_folder(target) as folder, progress("copying", len(files)) as advance:
        for done, file in enumerate(files, start=1):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, folder / file)
            advance(done)
        if not (folder / "ground_truth").exists():  # DVC does not keep empty folders
            write_bytes(folder / "ground_truth" / NOTE, _NO_MASKS.encode())


def _content(folder: Path) -> dict[Path, str]:
    files = (file for part in ("train", "test", "ground_truth") for file in list_images(folder / part))
    return {file.relative_to(folder): sha256_of(file) for file in files if file.name != NOTE}
