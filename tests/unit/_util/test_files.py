import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from patchcore._util import files
from tests.support.places import REPOSITORY


class CrashError(Exception):
    """The machine stops here."""


def crash(*_: object, **__: object) -> None:
    raise CrashError


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_digest_is_that_of_the_bytes_however_many(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than two blocks
    path = tmp_path / "large"
    path.write_bytes(content)
    assert files.sha256_of(path) == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert files.sha256_of(tmp_path / "empty") == hashlib.sha256(b"").hexdigest()


def test_canonical_json_to_the_byte() -> None:
    assert files.canonical_json({"b": [1, 2.5, None], "a": "ü"}) == (
        '{\n  "a": "ü",\n  "b": [\n    1,\n    2.5,\n    null\n  ]\n}\n'.encode()
    )
    assert files.canonical_json({"x": 1, "y": 2}) == files.canonical_json({"y": 2, "x": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_word_for_what_is_not_a_number(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "file.json", {"x": value})
    assert names(tmp_path) == set()


def test_what_is_written_is_read_again_and_parents_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file.json"
    files.write_json(path, {"x": [1, "ü"]})
    assert files.read_json(path) == {"x": [1, "ü"]}
    assert json.loads(path.read_bytes()) == {"x": [1, "ü"]}
    assert names(path.parent) == {"file.json"}


@pytest.fixture
def umask() -> Iterator[int]:
    """Another umask than usual, that nothing has read yet."""
    before = os.umask(0o027)
    files._umask.cache_clear()
    yield 0o027
    os.umask(before)
    files._umask.cache_clear()


def test_a_file_is_as_readable_as_any_other(tmp_path: Path, umask: int) -> None:
    files.write_bytes(tmp_path / "file", b"x")
    with files.new_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~umask


def test_threads_that_write_leave_the_umask_as_it_is(tmp_path: Path, umask: int) -> None:
    def write(number: int) -> None:
        files._umask.cache_clear()
        files.write_bytes(tmp_path / str(number), b"x")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(400)))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}
    assert os.umask(umask) == umask


def test_writing_never_sets_the_umask(tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", crash)
    files.write_bytes(tmp_path / "file", b"x")
    assert files._umask() == files._umask_of_a_new_file() == umask


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_crash_while_writing_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        files.write_bytes(path, old)
    monkeypatch.setattr(os, step, crash)
    with pytest.raises(CrashError):
        files.write_bytes(path, b"new and longer")
    assert (path.read_bytes() if path.exists() else None) == old
    assert names(tmp_path) == ({"file"} if old is not None else set())


def test_the_bytes_are_on_the_disk_before_their_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")  # noqa: PTH112
        fsync(handle)

    def note_replace(source: Path, target: Path) -> None:
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    files.write_bytes(tmp_path / "file", b"x")
    assert order == ["file", "rename", "folder"]


def fill(folder: Path, content: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/file").write_text(content)


def replace_folder(path: Path, when_filled: Callable[[], object]) -> None:
    with files.new_folder(path) as temporary:
        fill(temporary, "new")
        when_filled()


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a/bank"
    for content in ("old", "new"):
        with files.new_folder(path) as temporary:
            fill(temporary, content)
            (temporary / content).touch()
            assert temporary.parent == path.parent  # on the same disk: a rename is one step
        assert names(path) == {"sub", "sub/file", content}
        assert (path / "sub/file").read_text() == content
        assert names(path.parent) == {"bank", *(f"bank/{name}" for name in names(path))}


def test_a_crash_while_filling_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    with files.new_folder(path) as temporary:
        fill(temporary, "old")
    with pytest.raises(CrashError):
        replace_folder(path, crash)
    assert (path / "sub/file").read_text() == "old"
    assert names(tmp_path) == {"bank", "bank/sub", "bank/sub/file"}


def test_a_crash_while_syncing_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bank"
    with files.new_folder(path) as temporary:
        fill(temporary, "old")
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        replace_folder(path, lambda: patched.setattr(os, "fsync", crash))
    assert (path / "sub/file").read_text() == "old"
    assert names(tmp_path) == {"bank", "bank/sub", "bank/sub/file"}


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bank"
    with files.new_folder(path) as temporary:
        fill(temporary, "old")
    rename = os.rename

    def only_the_old_one(source: Path, target: Path) -> None:
        if Path(target) == path and (Path(source) / "sub/file").read_text() == "new":
            crash()
        rename(source, target)

    with monkeypatch.context() as patched, pytest.raises(CrashError):
        replace_folder(path, lambda: patched.setattr(os, "rename", only_the_old_one))
    assert (path / "sub/file").read_text() == "old"
    assert names(tmp_path) == {"bank", "bank/sub", "bank/sub/file"}


def test_only_old_leftovers_of_the_pattern_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    old = [tmp_path / "a/.x.npy.1234", tmp_path / ".y.npy.abc"]
    kept = [tmp_path / "a/x.npy", tmp_path / "a/.z.json.1", tmp_path / "a/.x.npy.new"]
    for path in (*old, *kept):
        path.touch()
        if path.suffix != ".new":
            os.utime(path, (0, 0))
    (tmp_path / ".folder.npy.1").mkdir()
    os.utime(tmp_path / ".folder.npy.1", (0, 0))
    files.remove_leftovers(tmp_path, "*.npy", older_than=60)
    assert [path.exists() for path in (*old, *kept)] == [False, False, True, True, True]
    assert (tmp_path / ".folder.npy.1").is_dir()


_DIES = """
import os, signal, sys
from pathlib import Path
from patchcore._util import files
with files.new_folder(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_one_of_the_same_name(tmp_path: Path) -> None:
    for name in ("folder", "folder.old", "folder.more"):
        subprocess.run([sys.executable, "-c", _DIES, str(tmp_path / name)], check=False, cwd=REPOSITORY)
    assert len(names(tmp_path)) == 6  # three folders and what is in them
    with files.new_folder(tmp_path / "folder") as folder:
        (folder / "whole").touch()
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert [name.startswith(".folder.more.") for name in left] == [True]
    assert names(tmp_path / "folder") == {"whole"}


def test_a_writer_that_lives_keeps_its_folder_while_another_writes_under_the_same_name(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "folder") as one:
        (one / "one").touch()
        with files.new_folder(tmp_path / "folder") as other:
            (other / "other").touch()
        assert names(one) == {"one"}
    assert names(tmp_path) == {"folder", "folder/one"}


def test_a_staged_folder_gets_its_name_at_the_end_or_vanishes(tmp_path: Path) -> None:
    with files.staging(tmp_path, "batch") as folder:
        (folder / "file").touch()
        files.show_folder(folder, tmp_path / "batch 2")
    with files.staging(tmp_path, "batch") as folder:
        (folder / "file").touch()
    assert names(tmp_path) == {"batch 2", "batch 2/file"}


def test_writers_that_replace_a_folder_at_once_all_succeed_and_leave_one_whole(tmp_path: Path) -> None:
    def replace(number: int) -> None:
        for _ in range(30):
            with files.new_folder(tmp_path / "folder") as folder:
                (folder / "a").write_text(str(number))
                (folder / "b").write_text(str(number))

    with ThreadPoolExecutor(max_workers=3) as threads:
        for done in [threads.submit(replace, number) for number in range(3)]:
            done.result()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder/a").read_text() == (tmp_path / "folder/b").read_text()
