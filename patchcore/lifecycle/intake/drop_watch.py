"""When a drop folder is worth a retrain: its files are whole, they are enough, and none was started for them yet.

A file that a retrain was started for may still be there: the retrain failed, or has to wait for its turn. Nothing is
started for it again until it changes; the schedule does that. What was started for is remembered in a file, so that
another process goes on from there.
"""

from datetime import datetime, timedelta
from pathlib import Path

from patchcore._util.files import read_json, write_json
from patchcore.config.params import ScheduleParams
from patchcore.lifecycle.intake.file_stability import Files, Settling, identities, look, look_again
from patchcore.lifecycle.intake.schedule import Decision, Situation, decide

_PATIENCE = 10.0  # times the settling: so long the first files wait for the rest of a stream to end
_RESTLESS = 3600.0  # seconds after which a file that still changes is told about


class DropWatch:
    """Looks at one drop folder again and again.

    Args:
        folder: the drop folder; it need not exist.
        memory: where to remember what was started for.
        params: the block `schedule` of params.yaml.
    """

    def __init__(self, folder: Path, memory: Path, params: ScheduleParams) -> None:
        self._folder, self._memory, self._params = folder, memory, params
        self._settling = Settling(params.settle_seconds)
        self._started = _recalled(memory)
        self._told: set[str] = set()

    def due(self, now: datetime, clock: float) -> tuple[Files, Decision] | None:
        """Look once; return the files that a retrain is to be started for, and why, or None.

        Args:
            now: the time, with a time zone.
            clock: seconds of a clock that only runs forward.

        Raises:
            OSError: the folder cannot be listed.
        """
        self._settling.update(look(self._folder), clock)
        new = self._new(clock)
        if not new or not (self._settling.calm(clock) or self._settling.age(new, clock) >= self._patience):
            return None
        for name, stamp in new.items():
            if look_again(self._folder, name) != stamp:
                self._settling.unsettle(name, clock)
        settled = self._settling.settled(clock)
        oldest = timedelta(seconds=self._settling.age(settled, clock))
        decision = decide(Situation(now, waiting=len(settled), oldest_waiting=oldest), self._params)
        return (settled, decision) if self._new(clock) and decision.work != "nothing" else None

    def started(self, files: Files) -> None:
        """Remember that a retrain was started for these files; what has left the folder is forgotten.

        Raises:
            OSError: it cannot be written down.
        """
        self._started = identities(files)
        write_json(self._memory, sorted(self._started))

    def restless(self, clock: float) -> list[str]:
        """Return the files that have been changing for an hour, each once."""
        found = self._settling.restless(max(_RESTLESS, self._patience), clock) - self._told
        self._told |= found
        return sorted(found)

    def _new(self, clock: float) -> Files:
        settled = self._settling.settled(clock)
        return {name: stamp for name, stamp in settled.items() if not identities({name: stamp}) <= self._started}

    @property
    def _patience(self) -> float:
        return _PATIENCE * self._params.settle_seconds


def _recalled(memory: Path) -> frozenset[str]:
    try:
        return frozenset(map(str, read_json(memory)))
    except (OSError, ValueError, TypeError):
        return frozenset()  # at worst a retrain finds nothing to do
