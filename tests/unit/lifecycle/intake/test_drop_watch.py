"""When a drop folder is worth a retrain, on real files; the clock is an argument."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from patchcore.config.params import ScheduleParams
from patchcore.lifecycle.intake.drop_watch import DropWatch
from patchcore.lifecycle.intake.file_stability import is_unfinished, look, look_again
from tests.unit.lifecycle.intake.test_schedule import schedule

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)


class Folder:
    """A drop folder, the watch over it, and a clock that goes on by itself from look to look."""

    def __init__(self, root: Path, params: ScheduleParams) -> None:
        self.root, self.params, self.clock = root, params, 0.0
        self.drop = root / "drop"
        self.again()

    def again(self) -> None:
        """Start the watch as another process does."""
        self.watch = DropWatch(self.drop, self.root / "memory.json", self.params)

    def write(self, name: str, content: str = "a picture") -> Path:
        (self.drop / name).parent.mkdir(parents=True, exist_ok=True)
        (self.drop / name).write_text(content)
        return self.drop / name

    def after(self, seconds: float, now: datetime = NOW) -> set[str] | None:
        """Look after so many seconds; return the names that a retrain is started for."""
        self.clock += seconds
        due = self.watch.due(now, self.clock)
        return None if due is None else set(due[0])

    def start(self, seconds: float) -> set[str]:
        """The same, and the retrain is started."""
        self.clock += seconds
        due = self.watch.due(NOW, self.clock)
        assert due is not None
        self.watch.started(due[0])
        return set(due[0])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, schedule(settle_seconds=10))


def test_a_folder_that_is_missing_or_empty_is_no_work(folder: Folder) -> None:
    assert folder.after(0) is None
    folder.drop.mkdir()
    assert folder.after(100) is None


def test_files_are_worth_a_retrain_when_they_have_not_changed_for_the_time(folder: Folder) -> None:
    folder.write("a.png")
    folder.write("deeper/b.png")
    assert folder.after(0) is None
    assert folder.after(9.9) is None
    assert folder.after(0.1) == {"a.png", "deeper/b.png"}


@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_file_that_grows_is_waited_for_whatever_its_time_says(folder: Folder, keeps_time: bool) -> None:
    for second in range(0, 40, 5):
        path = folder.write("slow.png", "x" * (second + 1))
        if keeps_time:  # as copies do that keep the time of their original, or a server whose clock is wrong
            os.utime(path, (1_000_000_000, 1_000_000_000))
        assert folder.after(5) is None
    assert folder.after(9) is None
    assert folder.after(1) == {"slow.png"}


def test_a_file_that_is_rewritten_to_the_same_size_is_waited_for(folder: Folder) -> None:
    folder.write("a.png", "first")
    folder.after(0)
    os.utime(folder.write("a.png", "other"), ns=(1, 1))
    assert folder.after(10) is None
    assert folder.after(10) == {"a.png"}


def test_nothing_is_started_twice_for_the_same_files_not_even_by_another_process(folder: Folder) -> None:
    folder.write("a.png")
    folder.after(0)
    assert folder.start(10) == {"a.png"}
    assert folder.after(1000) is None  # the retrain failed: the file is still there
    folder.again()
    assert folder.after(0) is None
    assert folder.after(1000) is None


def test_a_new_file_starts_another_retrain_with_those_that_stayed(folder: Folder) -> None:
    folder.write("a.png")
    folder.after(0)
    folder.start(10)
    folder.write("b.png")
    assert folder.after(1) is None
    assert folder.start(10) == {"a.png", "b.png"}
    assert folder.after(10) is None


def test_a_file_of_the_same_name_that_comes_later_is_a_new_one(folder: Folder) -> None:
    path = folder.write("a.png")
    os.utime(path, ns=(5, 5))
    folder.after(0)
    folder.start(10)
    path.unlink()
    assert folder.after(10) is None
    os.utime(folder.write("a.png"), ns=(5, 5))  # same name, size and time
    folder.after(0)
    assert folder.after(10) == {"a.png"}


def test_a_stream_of_files_is_one_retrain_when_it_ends(folder: Folder) -> None:
    for number in range(5):
        folder.write(f"{number}.png")
        assert folder.after(4) is None
    assert folder.after(6) is None
    assert folder.after(10) == {f"{number}.png" for number in range(5)}


def test_a_stream_that_does_not_end_is_taken_in_pieces(folder: Folder) -> None:
    folder.write("0.png")
    folder.after(0)
    started = []
    for number in range(1, 60):
        folder.write(f"{number}.png")
        folder.clock += 5
        if due := folder.watch.due(NOW, folder.clock):
            folder.watch.started(due[0])
            started.append((folder.clock, len(due[0])))
            for name in due[0]:
                (folder.drop / name).unlink()
    assert [clock for clock, _ in started] == [100, 195, 290]
    assert started[0][1] >= 18


def test_a_file_that_never_settles_holds_up_nobody_and_is_told_once(folder: Folder) -> None:
    folder.write("good.png")
    for second in range(0, 3700, 5):
        folder.write("endless.png", "x" * second)
        folder.clock += 5
        if due := folder.watch.due(NOW, folder.clock):
            assert set(due[0]) == {"good.png"}
            folder.watch.started(due[0])
        told = folder.watch.restless(folder.clock)
        assert told == (["endless.png"] if second == 3600 else [])


def test_fewer_files_than_the_minimum_wait_for_more(tmp_path: Path) -> None:
    folder = Folder(tmp_path, schedule(settle_seconds=10, minimum_new_images=3))
    for number in range(2):
        folder.write(f"{number}.png")
    folder.after(0)
    assert folder.after(500) is None
    folder.write("2.png")
    folder.after(0)
    assert folder.after(10) == {"0.png", "1.png", "2.png"}


def test_files_that_come_in_quiet_hours_start_a_retrain_when_those_end(tmp_path: Path) -> None:
    folder = Folder(tmp_path, schedule(settle_seconds=10, quiet_hours=["12:00-14:00"]))
    folder.write("a.png")
    folder.after(0)
    assert folder.after(10) is None
    assert folder.after(10, NOW.replace(hour=13, minute=59)) is None
    assert folder.after(10, NOW.replace(hour=14)) == {"a.png"}


@pytest.mark.parametrize("name", [".a.png.x7Kd", "a.png.part", "a.PNG.TMP", "~$a.png", "a.png~", ".in/a.png"])
def test_files_with_the_names_of_unfinished_ones_are_not_seen(folder: Folder, name: str) -> None:
    path = folder.write(name)
    folder.after(0)
    assert folder.after(1000) is None
    path.rename(folder.drop / "a.png")
    folder.after(0)
    assert folder.after(10) == {"a.png"}


def test_a_name_is_unfinished_by_its_end_not_by_what_it_contains() -> None:
    assert not any(is_unfinished(name) for name in ("part.png", "a.part.png", "tmp", "a~b.png", "7.tmpl"))


def test_what_is_no_file_is_not_seen_and_nothing_is_followed_out_of_the_folder(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.png").touch()
    folder.drop.mkdir()
    (folder.drop / "link").symlink_to(tmp_path / "elsewhere")
    (folder.drop / "nowhere.png").symlink_to("missing")
    os.mkfifo(folder.drop / "pipe")
    assert look(folder.drop) == {}


def test_a_look_opens_what_it_asks_the_server_about(folder: Folder) -> None:
    path = folder.write("a.png")
    assert look_again(folder.drop, "a.png") == look(folder.drop)["a.png"]
    path.unlink()
    assert look_again(folder.drop, "a.png") is None


def test_a_file_that_its_writer_keeps_locked_is_waited_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.png")
    folder.write("b.png")
    folder.after(0)
    real = Path.open

    def locked(path: Path, *arguments: str) -> object:
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied")  # as SMB says while another machine has it open for writing
        return real(path, *arguments)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", locked)
        assert folder.after(10) == {"a.png"}
        assert folder.after(0) is None  # b.png is restless now, and a.png does not wait alone
    assert folder.after(10) == {"a.png", "b.png"}


def test_a_memory_that_is_damaged_costs_one_retrain_more(folder: Folder) -> None:
    folder.write("a.png")
    folder.after(0)
    folder.start(10)
    (folder.root / "memory.json").write_text("{")
    folder.again()
    folder.after(0)
    assert folder.after(10) == {"a.png"}


def test_names_that_are_not_utf_8_are_watched_and_remembered(folder: Folder) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    folder.write(name)
    folder.after(0)
    assert folder.start(10) == {name}
    folder.again()
    folder.after(0)
    assert folder.after(100) is None


def test_a_folder_that_cannot_be_listed_is_an_error_of_that_look_only(folder: Folder) -> None:
    folder.drop.write_text("no folder")
    with pytest.raises(NotADirectoryError):
        folder.after(0)
    folder.drop.unlink()
    folder.write("a.png")
    folder.after(0)
    assert folder.after(10) == {"a.png"}
