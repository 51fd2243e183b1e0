"""The first stage: check that a bank can be built from a category, and write down its content."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from patchcore._util import files
from patchcore._util.progress import progress
from patchcore.adapters.expectations import Check, Validation, validate_table
from patchcore.config.params import Params, ValidateParams
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import GOOD, Manifest, scan, write_manifest
from patchcore.errors import InvalidImages
from patchcore.images.facts import ImageFacts
from patchcore.images.near_duplicates import near_duplicates
from patchcore.steps.facts_cache import File, facts_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Subject:
    """An image to check: one row of the table.

    Attributes:
        path: What results call the image.
        role: "candidate" before ingest takes it into the normals.
        label: "good", or the name of the defect.
        facts: What is known of the file.
        mask: What is known of its mask; None if it has none.
    """

    path: str
    role: Literal["evaluation", "normal", "candidate"]
    label: str
    facts: ImageFacts
    mask: ImageFacts | None = None


def run(workspace: Workspace, category: str, params: Params) -> None:
    """Validate a category; write its manifest, its validation.json and its Data Docs.

    Raises:
        UnknownCategory: params.yaml does not list the category.
        NoImages: The category is incomplete.
        InvalidLayout: Labels and masks do not match.
        InvalidImages: Images fail a check; the files are written before.
        CannotWrite: The Data Docs cannot be written.
        ExpectationsFailed: Great Expectations fails.
    """
    params.require(category)
    manifest = scan(workspace, category)
    count = len(manifest.normals) + len(manifest.evaluation) + sum(bool(entry.mask) for entry in manifest.evaluation)
    with progress("validate: reading images", count) as advance:
        subjects = examine(workspace, manifest, advance)
    validation = judge(subjects, params.validate_, docs=workspace.data_docs(category))
    write_manifest(workspace.manifest(category), manifest)
    files.write_json(workspace.validation(category), _report(manifest, validation))
    failed = [check for check in validation.checks if not check.passed]
    if failed:
        raise _refusal(category, failed[0], len(failed) - 1, workspace)


def examine(workspace: Workspace, manifest: Manifest, advance: Callable[[int], None] | None = None) -> list[Subject]:
    """Read every image and mask of a data-set version: the evaluation images first, then the normals.

    Args:
        workspace: The workspace.
        manifest: The data-set version.
        advance: Called with the number of files read so far.

    Raises:
        UnreadableImage: The bytes of a file cannot be read.
    """
    images = [File(workspace.root / entry.path, entry.sha256) for entry in manifest.evaluation]
    images += [File(workspace.root / entry.path, entry.sha256) for entry in manifest.normals]
    masked = [entry for entry in manifest.evaluation if entry.mask]
    masks = [File(workspace.root / str(entry.mask), str(entry.mask_sha256)) for entry in masked]
    facts = facts_of(workspace.image_facts(manifest.category), [*images, *masks], advance)
    mask_of = dict(zip((entry.path for entry in masked), facts[len(images) :], strict=True))
    evaluation = [
        Subject(entry.path, "evaluation", entry.label, fact, mask_of.get(entry.path))
        for entry, fact in zip(manifest.evaluation, facts, strict=False)
    ]
    normals = zip(manifest.normals, facts[len(evaluation) :], strict=False)
    return [*evaluation, *(Subject(entry.path, "normal", GOOD, fact) for entry, fact in normals)]


def judge(subjects: Sequence[Subject], params: ValidateParams, docs: Path | None = None) -> Validation:
    """Run the suite of Great Expectations over images.

    Candidates, if there are any, are compared with the data set; otherwise the normals are compared with the
    evaluation images. An image that repeats another one is found once: the later one.

    Args:
        subjects: In the order evaluation, normals, candidates.
        params: What a good image is.
        docs: Folder for the Data Docs; None: none are written.

    Raises:
        CannotWrite: The Data Docs cannot be written.
        ExpectationsFailed: Great Expectations fails.
    """
    return validate_table(_table(subjects, params), params, params.size or _usual_size(subjects), docs)


def _table(subjects: Sequence[Subject], params: ValidateParams) -> "pd.DataFrame":
    import pandas as pd

    evaluation = _first_with_digest(subject for subject in subjects if subject.role == "evaluation")
    others = _first_with_digest(subject for subject in subjects if subject.role != "evaluation")
    near = _near_copies(subjects, params.near_duplicate_distance)
    rows = []
    for subject in subjects:
        row = _row(subject)
        if subject.role != "evaluation":
            twin = others[subject.facts.sha256]
            row["copy_of"] = twin if twin != subject.path else None
            row["evaluation_copy_of"] = evaluation.get(subject.facts.sha256)
            exact = row["copy_of"] or row["evaluation_copy_of"]
            row["near_copy_of"] = None if exact else near.get(subject.path)
        rows.append(row)
    numbers = dict.fromkeys(("width", "height", "brightness", "sharpness"), "float64")
    return pd.DataFrame(rows).astype(numbers)  # a column of nothing but None would have no type


def _row(subject: Subject) -> dict[str, Any]:
    facts = subject.facts
    return {
        "path": subject.path,
        "role": subject.role,
        "label": subject.label,
        "problem": facts.reason,
        "width": facts.width,
        "height": facts.height,
        "size": _size(facts) if facts.decodable else None,
        "mode": facts.mode,
        "brightness": facts.brightness,
        "sharpness": facts.sharpness,
        "mask_size": _size(subject.mask) if subject.mask else None,
        "copy_of": None,
        "evaluation_copy_of": None,
        "near_copy_of": None,
    }


def _size(facts: ImageFacts) -> str:
    return f"{facts.width}x{facts.height}" if facts.decodable else "that cannot be read"


def _first_with_digest(subjects: Iterable[Subject]) -> dict[str, str]:
    first: dict[str, str] = {}
    for subject in subjects:
        first.setdefault(subject.facts.sha256, subject.path)
    return first


def _near_copies(subjects: Sequence[Subject], distance: float) -> dict[str, str]:
    newest = subjects[-1].role if subjects else "normal"
    seen = [(subject, subject.facts.thumbnail) for subject in subjects if subject.facts.thumbnail is not None]
    if not seen:
        return {}
    settled = sum(subject.role != newest for subject, _ in seen)
    thumbnails = np.stack([thumbnail for _, thumbnail in seen])
    pairs = near_duplicates(thumbnails, distance, settled=settled)
    return {seen[later][0].path: seen[earlier][0].path for later, earlier in pairs}


def _usual_size(subjects: Sequence[Subject]) -> tuple[int, int] | None:
    """Return the size that most images of the data set have; candidates do not count."""
    sizes = Counter(
        (subject.facts.width, subject.facts.height)
        for subject in subjects
        if subject.facts.width and subject.facts.height and subject.role != "candidate"
    )
    return max(sizes, key=lambda size: (sizes[size], size), default=None)


def _report(manifest: Manifest, validation: Validation) -> dict[str, Any]:
    defective = sum(entry.defective for entry in manifest.evaluation)
    return {
        "category": manifest.category,
        "dataset_sha256": manifest.sha256,
        "passed": validation.passed,
        "counts": {
            "normals": len(manifest.normals),
            "evaluation_good": len(manifest.evaluation) - defective,
            "evaluation_defective": defective,
            "masks": sum(entry.mask is not None for entry in manifest.evaluation),
        },
        "checks": [asdict(check) for check in validation.checks],
    }


def _refusal(category: str, check: Check, others: int, workspace: Workspace) -> InvalidImages:
    more = f" (and {others} more)" if others else ""
    got = check.observed
    if check.offending:
        got = f"{got}: {check.offending[0]}, {check.found[0]}"
        got += f", and {len(check.offending) - 1} more" if len(check.offending) > 1 else ""
    return InvalidImages(
        f"{category} fails the check {check.name!r}{more}",
        got=got,
        expected=check.expected,
        remedy=f"correct or remove what {workspace.relative(workspace.validation(category))} lists",
    )
