"""Digests that are remembered for as long as a file does not change."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from patchcore.dataset.digests import FileDigests


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(b"old")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def test_a_file_that_stays_the_same_is_read_once(file: Path) -> None:
    digests = FileDigests()
    assert [digests.of(file) for _ in range(3)] == [sha256(b"old").hexdigest()] * 3
    assert digests.read == 1


def test_a_file_that_changed_is_read_again_even_with_its_size_and_time_kept(file: Path) -> None:
    digests = FileDigests()
    digests.of(file)
    file.write_bytes(b"new")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert digests.of(file) == sha256(b"new").hexdigest()


def test_another_file_under_the_name_is_read(file: Path) -> None:
    digests = FileDigests()
    digests.of(file)
    other = file.with_name("other.png")
    other.write_bytes(b"new")
    other.replace(file)
    assert digests.of(file) == sha256(b"new").hexdigest()


def test_a_file_that_changed_a_moment_ago_is_not_trusted(file: Path) -> None:
    digests = FileDigests()
    file.write_bytes(b"new")
    digests.of(file)
    digests.of(file)
    assert digests.read == 2


def test_a_file_that_this_process_wrote_is_not_read(file: Path) -> None:
    digests = FileDigests()
    file.write_bytes(b"new")
    digests.remember(file, sha256(b"new").hexdigest())
    assert (digests.of(file), digests.read) == (sha256(b"new").hexdigest(), 0)


def test_a_missing_file_is_an_error(file: Path) -> None:
    file.unlink()
    with pytest.raises(FileNotFoundError):
        FileDigests().of(file)
