"""Which banks a retrain has the gate judge: a table of histories."""

from collections.abc import Sequence
from typing import cast

import pytest

from patchcore.adapters.ledger.records import Action, Decision
from patchcore.lifecycle.regate_policy import is_to_be_judged


def history(steps: str) -> list[Decision]:
    """Return decisions 10, 20, 30 ... of words such as promote1."""
    return [
        Decision(10 * place, "part", cast(Action, step[:-1]), None, int(step[-1]), "", "", False, {}, None, "ann", "")
        for place, step in enumerate(steps.split(), 1)
    ]


@pytest.mark.parametrize(
    ("steps", "present_since", "current", "judged"),
    [
        # Banks of the present images are judged once: whatever was decided since they are present stands.
        ("", 5, False, True),
        ("promote2", 5, False, True),
        ("promote2", 15, True, True),  # by other parameters, from the same images
        ("promote1", 5, True, False),
        ("refuse1", 5, False, False),
        ("promote2 refuse1", 15, False, False),
        ("promote2 propose1", 15, False, False),
        ("promote1 promote2", 5, True, False),  # by other parameters, from the same images: it was replaced
        # Its images are the present ones again, after those of bank 2.
        ("promote1 promote2", 25, False, True),
        ("promote1 promote2 promote3", 35, False, True),
        ("promote1 promote2 refuse1", 25, False, False),  # and the gate said no to it
        ("promote1 promote2 promote1", 25, True, False),
        ("promote1 promote2 promote1 promote2", 45, False, True),  # and they are back once more
        ("promote2 refuse1 promote3", 35, False, True),  # it was compared with another bank then
        ("promote2 propose1 promote3", 35, False, True),
        # In production is a bank of these very images: nothing to put right.
        ("promote1 promote2", 25, True, False),
        # A person went back from it, or past it: it stays out.
        ("promote2 promote1 rollback2", 15, False, False),
        ("promote2 promote1 rollback2", 35, False, False),
        ("promote2 promote1 rollback2 promote3", 45, False, False),
        ("promote2 promote1 promote3 rollback2 promote4", 55, False, False),
        # Going back to it, or to one after it, is not going back from it.
        ("promote1 promote2 rollback1 promote3", 45, False, True),
        ("promote1 promote2 promote3 rollback2", 45, False, True),
        # What came to production again after that stands as if nobody had gone back.
        ("promote2 promote1 rollback2 promote1 promote3", 55, False, True),
    ],
)
def test_a_bank_is_judged_once_each_time_that_its_images_become_the_present_ones(
    steps: str, present_since: int, current: bool, judged: bool
) -> None:
    found: Sequence[Decision] = history(steps)
    assert is_to_be_judged(1, found, present_since=present_since, current=current) is judged
