"""When to start a retrain for a drop folder: its files are whole, there are enough, and no retrain knows them yet.

A file for which a retrain was started may still be in the folder: the retrain failed, or waits for its turn. The watch
starts no second retrain for it until it changes; the schedule does that. The files of started retrains are kept in a
file, so that another process can continue.
"""

from datetime import datetime, timedelta
from pathlib import Path

from patchcore._util.files import read_json, write_json
from patchcore.config.params import ScheduleParams
from patchcore.lifecycle.intake.file_stability import Files, Settling, identities, look, look_again
from patchcore.lifecycle.intake.schedule import Decision, Situation, decide

_PATIENCE = 10.0  # times `settle_seconds`: how long the first files wait while other files keep coming
_RESTLESS = 3600.0  # seconds after which a file that still changes causes a warning


class DropWatch:
    """Looks at one drop folder repeatedly.

    Args:
        folder: The drop folder; it need not exist.
        memory: The file that keeps for which files a retrain was started.
        params: The block `schedule` of params.yaml.
    """

    def __init__(self, folder: Path, memory: Path, params: ScheduleParams) -> None:
        self._folder, self._memory, self._params = folder, memory, params
        self._settling = Settling(params.settle_seconds)
        self._started = _read_started(memory)
        self._warned: set[str] = set()

    def due(self, now: datetime, clock: float) -> tuple[Files, Decision] | None:
        """Look once.

        Args:
            now: The time, with a time zone.
            clock: Seconds of a monotonic clock.

        Returns:
            The files for which to start a retrain, and why; None if there is nothing to do.

        Raises:
            OSError: The folder cannot be listed.
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
        """Remember that a retrain was started for these files, and forget files that left the folder.

        Raises:
            OSError: The file that keeps them cannot be written.
        """
        self._started = identities(files)
        write_json(self._memory, sorted(self._started))

    def restless(self, clock: float) -> list[str]:
        """Return the files that have been changing for an hour; each file is returned once."""
        found = self._settling.restless(max(_RESTLESS, self._patience), clock) - self._warned
        self._warned |= found
        return sorted(found)

    def _new(self, clock: float) -> Files:
        settled = self._settling.settled(clock)
        return {name: stamp for name, stamp in settled.items() if not identities({name: stamp}) <= self._started}

    @property
    def _patience(self) -> float:
        return _PATIENCE * self._params.settle_seconds


def _read_started(memory: Path) -> frozenset[str]:
    try:
        return frozenset(map(str, read_json(memory)))
    except (OSError, ValueError, TypeError):
        return frozenset()  # at worst, one retrain more finds nothing to do
