"""Which of the new images are rejected, and why: the checks of the validate step, and of names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchcore.config.params import ValidateParams
from patchcore.dataset.manifest import GOOD
from patchcore.images.facts import ImageFacts
from patchcore.steps.validate import Subject, judge

LONGEST_NAME = 150
"""Bytes. File systems allow 255, and the names of claims, copies and notes are longer than the image's."""

_BETWEEN_IMAGES = frozenset({"exact duplicates", "overlap", "near duplicates"})


@dataclass(frozen=True)
class Candidate:
    """A file that may become a normal image.

    Attributes:
        file: The file.
        source: What results call the file.
        facts: What is known of it.
    """

    file: Path
    source: str
    facts: ImageFacts


def reasons_against(
    present: Sequence[Subject],
    candidates: Sequence[Candidate],
    params: ValidateParams,
    withdrawn: Mapping[str, str],
) -> dict[str, str]:
    """Return why candidates are rejected, by their source.

    Names, withdrawn contents and the checks of a single image come first, so that no good image is rejected as a copy
    of one that is rejected itself.

    Args:
        present: The images of the category.
        candidates: The new images.
        params: The block `validate` of params.yaml.
        withdrawn: Why a content was withdrawn from the category, by its sha256.

    Raises:
        Fault: Great Expectations fails.
    """
    alone = {each.source: withdrawn.get(each.facts.sha256) or _why_not_named(each.file.name) for each in candidates}
    reasons = {source: why for source, why in alone.items() if why}
    left = [each for each in candidates if each.source not in reasons]
    subjects = [Subject(each.source, "candidate", GOOD, each.facts) for each in left]
    while subjects:
        failures = _first_failures([*present, *subjects], params)
        bad = [subject.path for subject in subjects if subject.path in failures]
        worst = [path for path in bad if failures[path][0] not in _BETWEEN_IMAGES]
        reasons |= {path: failures[path][1] for path in worst or bad}
        if not worst:
            break
        subjects = [subject for subject in subjects if subject.path not in worst]
    return reasons


def _first_failures(subjects: Sequence[Subject], params: ValidateParams) -> dict[str, tuple[str, str]]:
    """Return the first check that each bad image fails, and the reason; checks of a single image come first."""
    failures: dict[str, tuple[str, str]] = {}
    for check in judge(subjects, params).checks:
        for path, found in zip(check.offending, check.found, strict=True):
            failures.setdefault(path, (check.name, f"{check.name}: got {found}, expected {check.expected}"))
    return failures


def _why_not_named(name: str) -> str | None:
    if (size := len(os.fsencode(name))) > LONGEST_NAME:
        return f"name: got {size} bytes, expected at most {LONGEST_NAME}"
    return None if readable(name) == name else "name: got bytes that are not UTF-8, expected a name in UTF-8"


def readable(name: str) -> str:
    r"""Return a name as valid text: a byte that is not UTF-8 becomes ``\xff``."""
    return os.fsencode(name).decode(errors="backslashreplace")
