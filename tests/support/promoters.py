"""Races: each process judges another version, waits until all have judged, then promotes it.

Run as ``python -m tests.support.promoters WORKSPACE ROUNDS VERSIONS``. In each round all versions to VERSIONS race,
except the one in production. Prints one JSON line per round: for each version the exit code of its process
and its line of error. One parent imports what is needed, and all others are forked from it.
"""

import importlib
import json
import multiprocessing
import os
import sys
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from patchcore.errors import PatchcoreError
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.gating import judge
from patchcore.lifecycle.services import open_services
from tests.support.registered_banks import CATEGORY

_PATIENCE = 300  # seconds until a process gives up waiting for the others
_FORK = multiprocessing.get_context("fork")


def race(root: str, versions: list[int]) -> dict[int, tuple[int | None, str]]:
    """Let a process for each version promote it, all at once; return exit code and error of each."""
    barrier, errors = _FORK.Barrier(len(versions)), _FORK.SimpleQueue()
    racers = {version: _FORK.Process(target=_promote, args=(root, version, barrier, errors)) for version in versions}
    for racer in racers.values():
        racer.start()
    said = dict(errors.get() for _ in racers)
    for racer in racers.values():
        racer.join()
    return {version: (racer.exitcode, said[version]) for version, racer in racers.items()}


def _promote(root: str, version: int, barrier: Barrier, errors: "SimpleQueue[tuple[int, str]]") -> None:
    os.environ["PATCHCORE_USER"] = f"worker {version}"
    code, error = 0, ""
    try:
        services = open_services(root)
        bank = bank_record(services, CATEGORY, version)
        judgement = judge(services, CATEGORY, bank)
        barrier.wait(_PATIENCE)
        promotion.promote(services, CATEGORY, bank, judgement, reason=f"race for {version}")
    except PatchcoreError as refusal:
        code, error = refusal.exit_code, str(refusal)
    except BaseException as unforeseen:
        code, error = -1, repr(unforeseen)
        raise
    finally:
        errors.put((version, error))
    sys.exit(code)


def _import_once() -> None:
    """Import in the parent what each of its children would import by itself; nothing that starts a thread."""
    for module in (
        "alembic.config",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "patchcore.search.kernels",
        "safetensors.numpy",
        "sqlalchemy.orm",
    ):
        importlib.import_module(module)
    sys.modules["sqlalchemy.orm"].configure_mappers()


def main(root: str, rounds: int, versions: int) -> None:
    """Print how each round went."""
    _import_once()
    for _ in range(rounds):
        production = open_services(root).ledger.production(CATEGORY)
        racing = [version for version in range(1, versions + 1) if production is None or version != production.version]
        print(json.dumps(race(root, racing)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
