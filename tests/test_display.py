"""What a person sees: tables as they reach a file, and the words in them."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from flows.display.pieces import image_names
from flows.display.terminal import counted, show_pairs, show_table

Done = CompletedProcess[str]


def test_a_table_in_a_file_has_no_blanks_at_the_end_of_a_line(caught: Callable[[Callable[[], int]], Done]) -> None:
    def work() -> int:
        show_table("a title", ("name", "words"), [("one", "short"), ("two", "a sentence " * 20)])
        show_pairs("pairs", [("name", "value")])
        return 0

    lines = caught(work).stdout.splitlines()
    assert len(lines) > 10
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(("number", "words"), [(0, "0 batches"), (1, "1 batch"), (2, "2 batches")])
def test_a_number_agrees_with_its_noun(number: int, words: str) -> None:
    assert counted(number, "batch", "batches") == words
    assert counted(number, "bank") == f"{number} bank{'' if number == 1 else 's'}"


def test_images_go_by_their_file_names_until_two_share_one() -> None:
    assert image_names(["line/a.png", "line/late/b.png"]) == {"line/a.png": "a.png", "line/late/b.png": "b.png"}
    paths = ["/fab/line/left/a.png", "/fab/line/right/a.png", "/fab/line/right/b.png"]
    assert list(image_names(paths).values()) == ["left/a.png", "right/a.png", "b.png"]
    assert image_names(["part/a.png", "/fab/a.png"]) == {"part/a.png": "part/a.png", "/fab/a.png": "/fab/a.png"}
    assert image_names(["a.png"]) == {"a.png": "a.png"}
    assert image_names([]) == {}
