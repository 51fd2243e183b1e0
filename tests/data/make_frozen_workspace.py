"""Makes frozen_workspace.tar.gz, a workspace that version 0.1.0 lived in, and what must still be true of it later.

Every later version must open it: bring its ledger up to date, verify it, answer for its batches, score and retrain.
It was made once, by version 0.1.0 at commit 8434fe9, and is never made again: a frozen workspace that changes shows
nothing. What is in it, and what is left out, stands in `tests/support/frozen_workspace.py`.

    PYTHONPATH=<a checkout of that commit> python tests/data/make_frozen_workspace.py [FOLDER FOR THE TWO FILES]
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = Path("/tmp/patchcore-frozen-workspace")  # noqa: S108  # the absolute paths in MLflow's database are below it
CATEGORY = "cell"
# So small that it can be kept, and still judged: the floors are those that a few drawn parts reach.
SMALL = {
    "image_size: 224": "image_size: 64",
    "parity_images: 16": "parity_images: 2",
    "coreset_ratio: 0.01": "coreset_ratio: 0.05",
    "held_out_share: 0.2": "held_out_share: 0.4",
    "example_heatmaps: 8": "example_heatmaps: 1",
    "pixel_auroc_at_least: 0.9": "pixel_auroc_at_least: 0.5",
    "aupro_at_least: 0.8": "aupro_at_least: 0.1",
    "image_auroc_drop_at_most: 0.01": "image_auroc_drop_at_most: 0.4",
    "pixel_auroc_drop_at_most: 0.01": "pixel_auroc_drop_at_most: 0.4",
    "aupro_drop_at_most: 0.02": "aupro_drop_at_most: 0.4",
    "  normals_at_least: 10          # evaluation": "  normals_at_least: 4           # evaluation",
    "defects_at_least: 10": "defects_at_least: 4",
}
# A machine makes these again. The link to the code leads to where version 0.1.0 was. Git's samples are no part of it.
LEFT_OUT = (
    *("patchcore", ".patchcore/runtime", ".patchcore/prefect", ".patchcore/data_docs", ".patchcore/features"),
    *(".patchcore/lock", ".dvc/tmp", ".git/hooks"),
)


def draw(seed: int, *, scratch: bool = False) -> NDArray[np.uint8]:
    """Return a ring on a grainy ground, a little different for each seed: uint8 (64, 64, 3)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64]
    centre = 32 + generator.uniform(-1, 1, 2)
    radius = np.hypot(y - centre[0], x - centre[1])
    levels = 90 + 80 * np.exp(-(((radius - 18) / 5) ** 2)) + generator.normal(0, 3, (64, 64))
    if scratch:
        levels[40:45, 12:44] = 250
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def make(target: Path) -> None:
    """Write the archive and the JSON file into a folder."""
    shutil.rmtree(ROOT, ignore_errors=True)
    key = _key(ROOT.with_suffix(".key"))
    os.environ["PATCHCORE_ANCHOR_FILE"] = str(ROOT / "anchors.jsonl")
    os.environ["PATCHCORE_SIGNING_KEY"] = str(ROOT.with_suffix(".key"))
    part = _draw_part(ROOT.with_suffix(".part"))
    said = _live(part)
    facts = {**_facts(), "public_key": key, "said": said}
    _tidy()
    (target / "frozen_workspace.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _pack(target / "frozen_workspace.tar.gz")
    shutil.rmtree(part)
    ROOT.with_suffix(".key").unlink()


def _live(part: Path) -> dict[str, Any]:
    """Live through two months; return the answers of a few commands."""
    _patchcore("init", ROOT, where=None)
    params = ROOT / "params.yaml"
    text = params.read_text(encoding="utf-8")
    for old, new in SMALL.items():
        assert old in text, old
        text = text.replace(old, new)
    params.write_text(text, encoding="utf-8")
    _draw_lines()
    _patchcore("add", CATEGORY, part)
    first = _patchcore("retrain", CATEGORY)
    _patchcore("score", CATEGORY, ROOT / "line/early", "--batch", "early")
    time.sleep(1)
    until = datetime.now(UTC).isoformat()
    scored = _patchcore("score", CATEGORY, ROOT / "line/first", "--batch", "first")
    passed = next(image["path"] for image in scored["images"] if not image["anomalous"])
    _fill_drop()
    ingested = _patchcore("ingest", CATEGORY)
    second = _patchcore("retrain", CATEGORY)
    _patchcore("override", "first", passed, "--anomalous", "--reason", "a hairline crack, seen by hand")
    _patchcore("score", CATEGORY, ROOT / "line/second", "--batch", "second")
    again = ("--rescore", "--reason", "the lens was cleaned")
    _patchcore("score", CATEGORY, ROOT / "line/first", "--batch", "first", *again)
    _patchcore("rollback", CATEGORY, "--reason", "it missed a crack")
    _patchcore("promote", CATEGORY, 2, "--propose", "--reason", "the crack was dirt", who="ann@fab")
    _patchcore("promote", CATEGORY, 2, "--approve", who="bob@fab")
    withdrawn = _patchcore("withdraw", CATEGORY, "normal_03.png", "--reason", "a stain, seen by hand")
    _patchcore("audit", "replay", "second")
    _patchcore("audit", "archive", "--before", until)
    _patchcore("audit", "export", ROOT / "evidence", "--batch", "first")
    _patchcore("audit", "anchor")
    return {"first_retrain": first, "ingest": ingested, "second_retrain": second, "withdraw": withdrawn}


def _facts() -> dict[str, Any]:
    """Return what must be true of the workspace ever after, as its own version says it."""
    history = _patchcore("audit", "history", CATEGORY)
    banks = [_patchcore("audit", "bank", CATEGORY, version) for version in (1, 2)]
    for bank in banks:
        folder = next((ROOT / ".patchcore/banks" / CATEGORY).glob(f"{bank['bank_version']}-*"))
        bank["threshold"] = json.loads((folder / "bank.json").read_text(encoding="utf-8"))["threshold"]
    return {
        "made_by": _said("--version").split()[-1],
        "root": str(ROOT),
        "category": CATEGORY,
        "datasets": [_patchcore("audit", "dataset", CATEGORY, number) for number in (1, 2, 3)],
        "banks": banks,
        "production": _patchcore("audit", "at", CATEGORY, datetime.now(UTC).isoformat()),
        "history": history,
        "scorings": [
            _patchcore("audit", "batch", batch, "--scoring", scoring)
            for batch, scoring in (("early", 1), ("first", 1), ("first", 2), ("second", 1))
        ],
        "incoming": {file.name: _digest(file) for file in sorted((ROOT / "incoming").iterdir())},
        "ledger": _patchcore("audit", "verify"),
        "git_head": _git("rev-parse", "HEAD"),
        "git_tags": _git("tag", "--list").split(),
    }


def _draw_part(folder: Path) -> Path:
    """Draw a category in MVTec layout: 18 normal images, 5 good and 5 scratched ones with masks."""
    shutil.rmtree(folder, ignore_errors=True)
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[40:45, 12:44] = 255
    for number in range(18):
        _save(folder / f"train/good/normal_{number:02}.png", draw(number))
    for number in range(5):
        _save(folder / f"test/good/good_{number}.png", draw(100 + number))
        _save(folder / f"test/scratch/scratch_{number}.png", draw(200 + number, scratch=True))
        _save(folder / f"ground_truth/scratch/scratch_{number}_mask.png", mask)
    return folder


def _draw_lines() -> None:
    """Draw the batches, the first with a file that is no image, and the new normals that nobody ingested yet."""
    for start, name, count in ((300, "early", 3), (400, "first", 6), (500, "second", 6)):
        for number in range(count):
            _save(ROOT / f"line/{name}/{name}_{number}.png", draw(start + number, scratch=number % 3 == 2))
    (ROOT / "line/first/first_torn.png").write_bytes((ROOT / "line/first/first_0.png").read_bytes()[:700])
    for number in range(4):
        _save(ROOT / f"incoming/incoming_{number}.png", draw(700 + number))


def _fill_drop() -> None:
    """Put six new normal images into the drop folder, a copy of an old one, and a file that is no image."""
    drop = ROOT / "drop" / CATEGORY
    for number in range(6):
        _save(drop / f"new_{number}.png", draw(600 + number))
    shutil.copyfile(ROOT / f"data/{CATEGORY}/train/good/normal_00.png", drop / "copy.png")
    (drop / "offline.png").write_text("The camera was offline.\n", encoding="utf-8")


def _tidy() -> None:
    """Remove what a machine makes again, and leave one file of each database."""
    for name in LEFT_OUT:
        path = ROOT / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
    for file in (ROOT / ".patchcore/ledger.db", ROOT / ".patchcore/mlflow/mlflow.db"):
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
    subprocess.run(["git", "gc", "--quiet", "--prune=now"], cwd=ROOT, check=True)


def _pack(archive: Path) -> None:
    """Pack the workspace, its root being the archive's: nobody's name, no order but that of the paths."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:gz", compresslevel=9) as file:
        for path in sorted(ROOT.rglob("*")):
            file.add(path, path.relative_to(ROOT).as_posix(), recursive=False, filter=plain)


def _patchcore(*words: object, who: str = "eva@fab", where: Path | None = ROOT) -> dict[str, Any]:
    """Run a command and return what it says in JSON."""
    place = [] if where is None else ["--workspace", where]
    value: dict[str, Any] = json.loads(_said(*words, "--json", *place, who=who))
    return value


def _said(*words: object, who: str = "eva@fab") -> str:
    program = "import sys; from flows.cli import main; sys.argv[0] = 'patchcore'; main()"
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, "PATCHCORE_USER": who}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _key(file: Path) -> str:
    """Write a private key that is the same each time, and no secret; return its public key."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"frozen workspace").digest())
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return private.public_key().public_bytes_raw().hex()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, optimize=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
