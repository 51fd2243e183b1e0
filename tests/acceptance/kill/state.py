"""What a workspace holds: whether anything in it is half done, and all that must be as if no kill had ever been."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from patchcore._util.files import read_json, sha256_of
from patchcore.adapters.mlflow.events import experiment_of_events
from patchcore.adapters.mlflow.registry import damage
from patchcore.bank.memory_bank import CONFIG
from patchcore.config.workspace import HEATMAPS, RESULTS, RESULTS_TABLE, Workspace
from patchcore.lifecycle.services import Services, open_services

CATEGORY = "part"
_MOMENT = (
    "at",
    "scored_at",
    "recorded_at",
    "created_at",
    "git_commit",
    "run_id",
    "flow_run_id",
    "sequence",
    "pointers",
    "code_version",
)


def look(root: Path, *, whole: bool) -> int:
    """Print, as JSON, what is wrong now and, if asked for the whole, what there is."""
    services = open_services(root)
    print(json.dumps({"problems": list(problems(services, whole=whole)), "state": state(services) if whole else {}}))  # noqa: T201
    return 0


def problems(services: Services, *, whole: bool) -> Iterator[str]:
    """Yield everything that is visible and not whole, and every record that speaks of what is not there.

    Args:
        services: the opened workspace.
        whole: look at the files that DVC writes in place too. It may be killed there; git has them as they were, and
            the same command writes them again.
    """
    workspace = services.workspace
    in_place = {*workspace.pointers(CATEGORY), workspace.lock_file}
    for path in sorted(_visible(workspace.root)):
        if path in in_place and not whole:
            continue
        try:
            _read(path)
        except Exception as error:  # noqa: BLE001  # whatever a reader says of a file is what a person would meet
            yield f"{workspace.relative(path)} is not whole: {type(error).__name__}: {error}"
    # Not work/CATEGORY/bank: DVC removes it file by file before it is built again, and nobody scores with it.
    for bank in workspace.bank_cache.glob("*/[0-9]*-*"):
        if wrong := damage(bank, sha256_of(bank / CONFIG)):
            yield f"{workspace.relative(bank)}: {wrong}"
    yield from _registered(services)
    yield from _batches(services)
    yield from services.ledger.verify().problems


def _visible(root: Path) -> Iterator[Path]:
    """Yield the files that a person or a later stage would take for finished."""
    for top in ("data", "reports", "work", "quarantine", "batches", ".patchcore/features", ".patchcore/banks"):
        for path in (root / top).rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(root / top).parts)
            if path.is_file() and not hidden:
                yield path
    yield from root.glob("*.yaml")
    yield from root.glob("*.lock")


def _read(path: Path) -> None:
    if "quarantine" in path.parts and path.suffix != ".json":
        return  # what it holds was no good when it came
    if path.suffix == ".json":
        read_json(path)
    elif path.suffix in {".yaml", ".lock", ".dvc"}:
        import yaml

        if not yaml.load(path.read_text(), yaml.CSafeLoader):  # the safe one, in C
            raise ValueError("empty")
    elif path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.read_parquet(path)
    elif path.suffix == ".npy":
        import numpy as np

        np.load(path, allow_pickle=False)
    elif path.suffix in {".csv", ".md"} and not path.stat().st_size:
        raise ValueError("empty")


def _registered(services: Services) -> Iterator[str]:
    versions = {version.version: version for version in services.registry.versions(CATEGORY)}
    for bank in services.ledger.banks(CATEGORY):
        if bank.version not in versions or versions[bank.version].bank_sha256 != bank.sha256:
            yield f"the ledger has bank version {bank.version}, the registry has not"
    for decision in services.ledger.history(CATEGORY):
        if decision.to_version not in versions:
            yield f"the ledger decided on version {decision.to_version}, the registry has none"
    client = services.registry._client
    for number, version in versions.items():
        source = client.get_model_version_download_uri(CATEGORY, str(number))
        if wrong := damage(Path(unquote(urlsplit(source).path), "artifacts", "bank"), version.bank_sha256):
            yield f"registered version {number}: {wrong}"


def _batches(services: Services) -> Iterator[str]:
    folder = services.workspace.root / "batches"
    for results in folder.glob("[!.]*") if folder.is_dir() else ():
        record = services.ledger.batch(results.name)
        if record is None:
            yield f"batch {results.name} has results, and no record"
            continue
        shown = len(list((results / HEATMAPS).glob("*.png")))
        if (
            shown != record.record.scored
            or not (results / RESULTS).is_file()
            or not (results / RESULTS_TABLE).is_file()
        ):
            yield f"batch {results.name}: {shown} heatmaps of {record.record.scored} images"


def contents(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder by its path in it, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def state(services: Services) -> dict[str, Any]:
    """Return all that has to come out the same; times and the ids that MLflow makes up are left out."""
    workspace, ledger, registry = services.workspace, services.ledger, services.registry
    scored = {name: ledger.batch(name) for name in ("first",)}
    production = ledger.production(CATEGORY)
    return {
        "normals": contents(workspace.good_normals(CATEGORY)),
        "quarantine": contents(workspace.quarantine(CATEGORY)),
        "drop": contents(workspace.drop(CATEGORY)),
        "arrivals": read_json(workspace.arrivals(CATEGORY)),
        "data sets": [_timeless(record) for record in ledger.datasets(CATEGORY)],
        "members": [
            [asdict(member) for member in ledger.members(CATEGORY, record.number)]
            for record in ledger.datasets(CATEGORY)
        ],
        "banks": [_timeless(record) for record in ledger.banks(CATEGORY)],
        "decisions": [_timeless(record) for record in ledger.history(CATEGORY)],
        # That the registry was put right is recorded besides, and only after a kill.
        "events": sorted(event.action for event in ledger.events(CATEGORY) if event.action != "reconcile"),
        "batches": {
            name: {
                "record": _timeless(found.record),
                "images": [asdict(image) for image in found.images],
                "scorings": len(ledger.scorings(name)),
            }
            for name, found in scored.items()
            if found
        },
        "versions": [
            [version.version, version.bank_sha256, version.dataset_version] for version in registry.versions(CATEGORY)
        ],
        "alias is production": registry.alias(CATEGORY) == (production.version if production else None),
        "production": production.version if production else None,
        "runs": _runs(services),
        "git": _git(workspace, "status", "--porcelain"),
        "bank": sha256_of(workspace.bank(CATEGORY) / CONFIG) if (workspace.bank(CATEGORY) / CONFIG).exists() else None,
        "stages to run": services.versioning.stages_to_run(CATEGORY),
        "files": sorted(_files(workspace.root)),
    }


def _timeless(record: Any) -> dict[str, Any]:
    return {key: value for key, value in asdict(record).items() if key not in _MOMENT}


def _runs(services: Services) -> dict[str, int]:
    """Count the runs by what they show and their status; of a bank, any number that a kill left as KILLED is right."""
    client = services.registry._client
    found: Counter[str] = Counter()
    for name in (CATEGORY, experiment_of_events(CATEGORY)):
        experiment = client.get_experiment_by_name(name)
        for run in client.search_runs([experiment.experiment_id]) if experiment else ():
            found[f"{run.data.tags.get('event', 'bank')} {run.info.status}"] += 1
    found.pop("bank KILLED", None)
    return dict(found)


def _git(workspace: Workspace, *words: str) -> str:
    return subprocess.run(["git", "-C", str(workspace.root), *words], capture_output=True, text=True, check=True).stdout


def _files(root: Path) -> Iterator[str]:
    """Yield every path of the workspace but for those that are named by chance or belong to git, DVC and MLflow."""
    foreign = (".git", ".dvc", ".patchcore/mlflow", ".patchcore/prefect", "patchcore")
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not any(name == top or name.startswith(f"{top}/") for top in foreign):
            yield re.sub(r"\d{8}T\d{6}\.\d{6}Z", "TIME", name)
