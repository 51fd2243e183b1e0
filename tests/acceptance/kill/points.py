"""Which effects of a command it is killed at."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_TORN = " [can be torn]"


@dataclass(frozen=True)
class Point:
    """A kill: just before an effect (counted from 1), or after it has emptied its file, or at a moment of time.

    Attributes:
        at: the effect, as `tests.acceptance.kill.effects` takes it; "0" for a moment.
        words: what a person reads of it.
        after: seconds since the start of the command; None where it is an effect.
    """

    at: str
    words: str
    after: float | None = None


def marked(effects: Sequence[str], count: int, seed: int) -> list[Point]:
    """Return kills at marked steps: every kind of effect before any kind twice, spread over the whole command."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, Point]] = []
    for number, line in enumerate(effects, 1):
        effect = line.removesuffix(_TORN)
        variants = {f"{number}": f"before {effect}"} | ({f"{number}:torn": f"torn: {effect}"} if line != effect else {})
        for at, words in variants.items():
            kind = _kind(words)
            ranked.append((seen[kind], Point(at, words)))
            seen[kind] += 1
    generator = random.Random(seed)  # noqa: S311  # a choice, not a secret
    chosen: list[Point] = []
    for rank in range(max(seen.values(), default=0)):
        of_rank = [point for each, point in ranked if each == rank]
        wanted = min(count - len(chosen), len(of_rank))
        # Evenly spaced: all of the command is reached however few are wanted, and no point twice.
        step, first = len(of_rank) / max(wanted, 1), generator.random()
        chosen += [of_rank[int((index + first) * step)] for index in range(wanted)]
    return chosen


def moments(seconds: float, count: int, seed: int) -> list[Point]:
    """Return kills at random moments of a command that takes so many seconds."""
    generator = random.Random(seed)  # noqa: S311
    times = [seconds * (index + generator.random()) / count for index in range(count)]
    return [Point("0", f"at {time / seconds:.0%} of the time", time) for time in times]


def _kind(words: str) -> str:
    """Return an effect without what numbers, digests and random names make different in it."""
    return re.sub(r"\.[a-z0-9_]{8}\b|[0-9a-f]{6,}|\d+", "*", words)
