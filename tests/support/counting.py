"""Count what a command does in this process: digests by content, openings of services, and processes of its own."""

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

_OURS = {"patchcore", "flows"}
_OPENED = {
    "params": "patchcore.lifecycle.services.load_params",
    "ledger": "patchcore.lifecycle.services.open_ledger",
    "registry": "patchcore.lifecycle.services.open_registry",
    "MLflow": "patchcore.adapters.mlflow.registry.connect",
}


@dataclass
class Work:
    """What was done.

    Attributes:
        digests: How often each sha256 was computed by code of this repository.
        opened: How often each service was opened, and params.yaml was read.
        processes: The command lines of processes that run code of this repository.
    """

    digests: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    processes: list[list[str]] = field(default_factory=list)


@contextmanager
def counted() -> Iterator[Work]:
    """Count what is done in the block; what the commands read and write stays as it is."""
    work = Work()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "sha256", _counting_sha256(work))
        for name, place in _OPENED.items():
            patch.setattr(place, _counting(work, name, _resolved(place)))
        patch.setattr("patchcore.config.params.load_params", _counting(work, "params", _resolved(_OPENED["params"])))
        patch.setattr(subprocess.Popen, "__init__", _noting(work))
        yield work


def _resolved(place: str) -> Callable[..., Any]:
    module, _, name = place.rpartition(".")
    function: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    return function


def _counting(work: Work, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        work.opened[name] += 1
        return function(*arguments, **options)

    return call


def _counting_sha256(work: Work) -> Callable[..., Any]:
    real = hashlib.sha256

    def make(*arguments: Any, **options: Any) -> Any:
        digest = real(*arguments, **options)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return _Counted(digest, work) if caller.partition(".")[0] in _OURS else digest

    return make


class _Counted:
    """A digest that counts itself when it is asked for its value."""

    def __init__(self, digest: Any, work: Work) -> None:
        self._digest, self._work = digest, work

    def hexdigest(self) -> str:
        value: str = self._digest.hexdigest()
        self._work.digests[value] += 1
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._digest, name)


def _noting(work: Work) -> Callable[..., None]:
    begin = subprocess.Popen.__init__

    def call(self: Any, args: Any, *others: Any, **options: Any) -> None:
        words = [args] if isinstance(args, str) else [str(word) for word in args]
        if any(word.partition(".")[0] in _OURS for word in words) or "dvc" in words:
            work.processes.append(words)
        begin(self, args, *others, **options)

    return call
