"""The files that a new workspace gets, and those that git ignores in it."""

from pathlib import Path

import patchcore

IGNORED = ("/.patchcore/", "/work/", "/drop/", "/quarantine/", "/batches/", "/archive/", "/dvc_plots/")
"""What a machine keeps for itself, and what comes in and goes out: git ignores it."""

_PACKAGE = Path(patchcore.__file__).resolve().parent


def pipeline_text() -> str:
    """Return dvc.yaml: a wheel has it inside the package, a clone at its top."""
    packed = _PACKAGE / "template" / "dvc.yaml"
    return (packed if packed.is_file() else _PACKAGE.parent / "dvc.yaml").read_text(encoding="utf-8")


def ignore_text(text: str, *, keep_link: bool) -> str:
    """Return a .gitignore with the lines that it lacks.

    Args:
        text: What is there.
        keep_link: Whether it keeps the line for the link `patchcore`, which workspaces of version 0.1.0 have.
    """
    lines = [line for line in text.splitlines() if keep_link or line != "/patchcore"]
    lines += [line for line in IGNORED if line not in lines]
    return "".join(f"{line}\n" for line in lines)
