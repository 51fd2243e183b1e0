import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchcore._util import files
from patchcore._util.files import sha256_of
from patchcore.adapters.expectations import Validation
from patchcore.config.params import Params, ValidateParams, load_params
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import scan
from patchcore.errors import Refused
from patchcore.lifecycle.intake import screening as ingest_rules
from patchcore.lifecycle.intake.ingest import ingest
from patchcore.lifecycle.intake.results import IngestResult, KnownImage, RejectedImage, TakenImage
from patchcore.steps.validate import Subject, judge
from tests.support.places import PARAMS_FILE


@pytest.fixture(scope="module")
def params() -> Params:
    loaded = load_params(PARAMS_FILE)
    validate = loaded.validate_.model_copy(update={"near_duplicate_distance": 0.7})
    return loaded.model_copy(update={"categories": ("part",), "validate_": validate})


def draw(path: Path, seed: int, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)).save(path)
    return path


def again(source: Path, target: Path) -> Path:
    with Image.open(source) as image:
        image.save(target, compress_level=0)
    return target


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    part = tmp_path / "workspace/data/part"
    for number in range(4):
        draw(part / f"train/good/{number}.png", number)
    draw(part / "test/good/a.png", 100)
    draw(part / "test/crack/b.png", 101)
    return Workspace(tmp_path / "workspace")


def fill(folder: Path, workspace: Workspace) -> None:
    """Three good images and one of every kind of bad one."""
    draw(folder / "new.png", 200)
    draw(folder / "sub/other.png", 201)
    draw(folder / "3.png", 202)  # the name is taken by another image
    whole = draw(folder / "truncated.png", 203)
    whole.write_bytes(whole.read_bytes()[:-300])
    (folder / "text.txt").write_text("hello")
    draw(folder / "wrong_size.png", 204, (64, 24))
    shutil.copy(workspace.good_normals("part") / "1.png", folder / "copy.png")
    shutil.copy(workspace.evaluation("part") / "crack/b.png", folder / "leak.png")
    again(workspace.good_normals("part") / "2.png", folder / "again.png")
    shutil.copy(folder / "new.png", folder / "twin.png")
    leave_alone(folder)


def leave_alone(folder: Path) -> None:
    """Make files look as if nobody had touched them for long: nothing waits for their writers."""
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)


GOOD = {"new.png", "sub/other.png", "3.png"}
WHY = {
    "truncated.png": "decodable: got a damaged image",
    "text.txt": "decodable: got a file that is not an image",
    "wrong_size.png": "width: got 64, expected 32 pixels",
    "copy.png": "exact duplicates: got the same bytes as data/part/train/good/1.png",
    "leak.png": "overlap: got the same bytes as data/part/test/crack/b.png",
    "again.png": "near duplicates: got nearly the same picture as data/part/train/good/2.png",
}


def tree(folder: Path) -> dict[str, str]:
    """Every file but those of a cache, which may know more after each run."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".cache")
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def check_outcome(workspace: Workspace, folder: Path, contents: dict[str, str]) -> None:
    """Every file of the folder is in exactly one place, whole."""
    normals = tree(workspace.good_normals("part"))
    assert len(normals) == len(set(normals.values())) == 7
    assert {contents[name] for name in GOOD} <= set(normals.values())
    quarantine = tree(workspace.quarantine("part"))
    pictures = {name: digest for name, digest in quarantine.items() if not name.endswith(".reason.json")}
    assert sorted(pictures.values()) == sorted(contents[name] for name in (*WHY, "twin.png"))
    for name, digest in pictures.items():
        why = files.read_json(workspace.quarantine("part") / f"{name}.reason.json")
        assert why["sha256"] == digest
        assert name == f"{digest[:12]}-{Path(why['source']).name}"
        assert why["reason"].startswith(WHY.get(Path(why["source"]).name, "exact duplicates"))


def test_good_images_are_copied_and_bad_ones_quarantined_with_the_reason(
    workspace: Workspace, tmp_path: Path, params: Params
) -> None:
    folder = tmp_path / "foreign"
    fill(folder, workspace)
    contents = tree(folder)
    result = ingest(workspace, "part", folder, params)
    check_outcome(workspace, folder, contents)
    assert tree(folder) == contents  # a foreign folder stays as it is

    assert {Path(each.source).relative_to(folder).as_posix() for each in result.taken} == GOOD
    by_name = {Path(each.source).name: each for each in result.taken}
    assert by_name["new.png"] == TakenImage(
        path="data/part/train/good/new.png", sha256=contents["new.png"], source=str(folder / "new.png")
    )
    assert by_name["3.png"].path == f"data/part/train/good/3-{contents['3.png'][:8]}.png"
    assert {Path(each.source).name for each in result.quarantined} == {*WHY, "twin.png"}
    for each in result.quarantined:
        assert files.sha256_of(workspace.root / each.path) == contents[Path(each.source).name]
    scan(workspace, "part")


def test_the_drop_folder_is_emptied(workspace: Workspace, params: Params) -> None:
    drop = workspace.drop("part")
    fill(drop, workspace)
    contents = tree(drop)
    result = ingest(workspace, "part", drop, params)
    check_outcome(workspace, drop, contents)
    assert tree(drop) == {}
    assert {each.source for each in result.taken} == {f"drop/part/{name}" for name in GOOD}
    assert ingest(workspace, "part", drop, params) == IngestResult()


def test_a_second_run_over_a_foreign_folder_changes_nothing(
    workspace: Workspace, tmp_path: Path, params: Params
) -> None:
    folder = tmp_path / "foreign"
    fill(folder, workspace)
    first = ingest(workspace, "part", folder, params)
    before = tree(workspace.root)
    second = ingest(workspace, "part", folder, params)
    assert tree(workspace.root) == before
    assert second.taken == ()
    assert {(each.path, each.sha256) for each in second.known} >= {(each.path, each.sha256) for each in first.taken}
    assert {each.path for each in second.quarantined} <= {each.path for each in first.quarantined}


def test_a_copy_that_is_dropped_under_its_own_name_is_still_a_copy(workspace: Workspace, params: Params) -> None:
    drop = workspace.drop("part")
    drop.mkdir(parents=True)
    shutil.copy(workspace.good_normals("part") / "1.png", drop / "1.png")
    (rejected,) = ingest(workspace, "part", drop, params).quarantined
    assert isinstance(rejected, RejectedImage)
    assert "data/part/train/good/1.png" in rejected.reason
    assert tree(drop) == {}


def test_a_bad_image_is_not_the_twin_that_costs_a_good_one(
    workspace: Workspace, tmp_path: Path, params: Params
) -> None:
    good = draw(tmp_path / "foreign/b.png", 300)
    with Image.open(good) as image:
        image.convert("RGBA").save(tmp_path / "foreign/a.png")  # first in order, same picture, wrong mode
    result = ingest(workspace, "part", tmp_path / "foreign", params)
    assert [Path(each.source).name for each in result.taken] == ["b.png"]
    assert [Path(each.source).name for each in result.quarantined] == ["a.png"]
    assert result.quarantined[0].reason == "mode: got RGBA, expected L or RGB"


def test_newcomers_do_not_outvote_the_size_of_the_data_set(
    workspace: Workspace, tmp_path: Path, params: Params
) -> None:
    for number in range(20):
        draw(tmp_path / f"foreign/{number}.png", 400 + number, (24, 24))
    result = ingest(workspace, "part", tmp_path / "foreign", params)
    assert (len(result.taken), len(result.quarantined)) == (0, 20)


class KilledError(BaseException):
    """Stands for SIGKILL: nothing after it runs, not even a clean-up of ours that matters."""


def kill_at(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], bool]:
    """Stop the process's work at its so-manieth change on disk; say whether it came to that."""
    changes = iter(range(1, 1_000))
    stopped: list[bool] = []

    def stopping(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if not stopped and next(changes) == at:
                stopped.append(True)
            if stopped:
                raise KilledError
            return original(*arguments, **named)

        return call

    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(Path, name, stopping(getattr(Path, name)))
    monkeypatch.setattr(os, "fsync", stopping(os.fsync))
    return lambda: bool(stopped)


@pytest.mark.parametrize("at", [*range(1, 14), 30, 55])
def test_after_a_kill_the_next_run_finishes_the_work(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    drop = workspace.drop("part")
    fill(drop, workspace)
    contents = tree(drop)
    with monkeypatch.context() as patch:
        came_to_that = kill_at(patch, at)
        with pytest.raises(KilledError):
            ingest(workspace, "part", drop, params)
        assert came_to_that()
    visible = {name: d for name, d in tree(workspace.good_normals("part")).items() if not name.startswith(".")}
    before = {sha256_of(workspace.good_normals("part") / f"{n}.png") for n in range(4)}
    assert set(visible.values()) <= {*contents.values(), *before}  # nothing half-written is visible

    result = ingest(workspace, "part", drop, params)
    check_outcome(workspace, drop, contents)
    assert tree(drop) == {}
    paths = [each.path for each in result.taken] + [each.path for each in result.quarantined]
    assert all((workspace.root / path).is_file() for path in paths)


def test_a_claim_whose_image_never_arrived_is_taken_back(workspace: Workspace, params: Params) -> None:
    drop = workspace.drop("part")
    claimed = draw(drop / "new.png", 500)
    digest = sha256_of(claimed)
    claimed.rename(drop / ".new.png.patchcore-taking")
    draw(drop / "new.png", 501)  # another file came under the name meanwhile
    result = ingest(workspace, "part", drop, params)
    assert len(result.taken) == 2
    assert digest in {each.sha256 for each in result.taken}
    assert tree(drop) == {}


def test_a_claim_whose_image_arrived_is_reported_as_taken(workspace: Workspace, params: Params) -> None:
    drop = workspace.drop("part")
    claim = draw(drop / "new.png", 500).rename(drop / ".new.png.patchcore-taking")
    shutil.copy(claim, workspace.good_normals("part") / "new.png")
    result = ingest(workspace, "part", drop, params)
    assert [(each.source, each.path) for each in result.taken] == [
        ("drop/part/new.png", "data/part/train/good/new.png")
    ]
    assert tree(drop) == {}


def test_a_normal_image_of_the_data_set_is_known_in_its_own_folder(workspace: Workspace, params: Params) -> None:
    result = ingest(workspace, "part", workspace.good_normals("part"), params)
    assert len(result.known) == 4
    assert isinstance(result.known[0], KnownImage)
    assert (result.taken, result.quarantined) == ((), ())


def test_nothing_in_the_drop_folder_is_no_error(workspace: Workspace, params: Params) -> None:
    assert ingest(workspace, "part", workspace.drop("part"), params) == IngestResult()


@pytest.mark.parametrize(
    ("make", "got"),
    [(lambda path: None, "no such folder"), (lambda path: path.mkdir(), "an empty folder"), (Path.touch, "a file")],
)
def test_a_folder_without_files_is_refused(
    workspace: Workspace, tmp_path: Path, params: Params, make: Callable[[Path], object], got: str
) -> None:
    make(tmp_path / "foreign")
    with pytest.raises(Refused, match=f"foreign holds no images: got {got}"):
        ingest(workspace, "part", tmp_path / "foreign", params)


def test_an_unknown_category_is_refused(workspace: Workspace, tmp_path: Path, params: Params) -> None:
    with pytest.raises(Refused, match="no category 'other'"):
        ingest(workspace, "other", tmp_path, params)


def test_the_reason_file_is_plain_json(workspace: Workspace, params: Params) -> None:
    path = workspace.drop("part") / "note.txt"
    path.parent.mkdir(parents=True)
    path.write_text("hello")
    digest = sha256_of(path)
    ingest(workspace, "part", workspace.drop("part"), params)
    value = json.loads((workspace.quarantine("part") / f"{digest[:12]}-note.txt.reason.json").read_text())
    assert value == {
        "source": "drop/part/note.txt",
        "reason": "decodable: got a file that is not an image, "
        "expected a whole BMP, JPEG, PNG or TIFF image, 8 bits a channel",
        "sha256": digest,
    }


def test_a_file_that_is_still_being_written_waits_for_the_next_run(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = workspace.drop("part")
    path = draw(drop / "slow.png", 600)
    content = path.read_bytes()
    draw(drop / "done.png", 601)
    with path.open("wb", buffering=0) as stream, monkeypatch.context() as patch:
        stream.write(content[:300])
        patch.setattr("time.sleep", lambda seconds: stream.write(content[300:400]))  # between the two looks
        result = ingest(workspace, "part", drop, params)
        assert result.waiting == ("drop/part/slow.png",)
        assert [each.source for each in result.taken] == ["drop/part/done.png"]
        assert result.quarantined == ()
        stream.write(content[400:])
    again = ingest(workspace, "part", drop, params)
    assert [each.source for each in again.taken] == ["drop/part/slow.png"]
    assert (workspace.good_normals("part") / "slow.png").read_bytes() == content


@pytest.mark.parametrize("name", ["new.png.part", "new.PNG.tmp", "~$new.png", "new.png~"])
def test_a_file_whose_name_says_that_it_is_unfinished_waits_for_its_own_name(
    workspace: Workspace, params: Params, name: str
) -> None:
    drop = workspace.drop("part")
    draw(drop / "new.png", 600).rename(drop / name)
    leave_alone(drop)
    assert ingest(workspace, "part", drop, params) == IngestResult(waiting=(f"drop/part/{name}",))
    (drop / name).rename(drop / "new.png")
    assert [each.source for each in ingest(workspace, "part", drop, params).taken] == ["drop/part/new.png"]


def test_with_nobody_waiting_every_file_is_watched_for_the_time_whatever_its_age(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = workspace.drop("part")
    path = draw(drop / "slow.png", 600)
    draw(drop / "done.png", 601)
    content = path.read_bytes()
    slept: list[float] = []

    def go_on(seconds: float) -> None:
        slept.append(seconds)
        stream.write(content[300:400])
        os.utime(path, (1_700_000_000, 1_700_000_000))  # as a copy does that keeps the time of its original

    with path.open("wb", buffering=0) as stream, monkeypatch.context() as patch:
        stream.write(content[:300])
        leave_alone(drop)
        patch.setattr("time.sleep", go_on)
        result = ingest(workspace, "part", drop, params, settle=7.5)
    assert slept == [7.5]
    assert result.waiting == ("drop/part/slow.png",)
    assert [each.source for each in result.taken] == ["drop/part/done.png"]


def test_a_file_that_its_writer_keeps_locked_waits_and_holds_up_nobody(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = workspace.drop("part")
    draw(drop / "locked.png", 600)
    draw(drop / "other.png", 601)
    leave_alone(drop)
    real = Path.open

    def locked(path: Path, *arguments: str, **named: str) -> object:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied")  # as SMB says while another machine writes the file
        return real(path, *arguments, **named)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", locked)
        result = ingest(workspace, "part", drop, params)
    assert result.waiting == ("drop/part/locked.png",)
    assert [each.source for each in result.taken] == ["drop/part/other.png"]
    assert [each.source for each in ingest(workspace, "part", drop, params).taken] == ["drop/part/locked.png"]


def test_a_writer_who_paused_goes_on_in_quarantine(workspace: Workspace, params: Params) -> None:
    drop = workspace.drop("part")
    path = draw(drop / "slow.png", 600)
    content = path.read_bytes()
    with path.open("wb", buffering=0) as stream:
        stream.write(content[:300])
        leave_alone(drop)
        (rejected,) = ingest(workspace, "part", drop, params).quarantined
        stream.write(content[300:])
    assert (workspace.root / rejected.path).read_bytes() == content
    path.write_bytes(content[:300])  # the same half again must not replace the whole file
    leave_alone(drop)
    (other,) = ingest(workspace, "part", drop, params).quarantined
    assert (workspace.root / rejected.path).read_bytes() == content
    assert (workspace.root / other.path).read_bytes() == content[:300]


@pytest.mark.parametrize("good", [True, False])
def test_a_file_that_changes_after_it_was_examined_waits(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    drop = workspace.drop("part")
    path = draw(drop / "new.png", 600)
    if not good:
        path.write_bytes(b"half")
    draw(drop / "other.png", 601)
    leave_alone(drop)

    def judge_while_it_changes(subjects: Sequence[Subject], params: ValidateParams) -> Validation:
        validation = judge(subjects, params)
        path.write_bytes(b"other bytes")
        return validation

    monkeypatch.setattr(ingest_rules, "judge", judge_while_it_changes)
    result = ingest(workspace, "part", drop, params)
    assert result.waiting == ("drop/part/new.png",)
    assert [each.source for each in result.taken] == ["drop/part/other.png"]
    assert result.quarantined == ()
    assert tree(drop) == {"new.png": sha256_of(path)}
    assert path.read_bytes() == b"other bytes"
    assert not (workspace.good_normals("part") / "new.png").exists()


def test_a_drop_folder_on_another_file_system_is_emptied_too(workspace: Workspace, params: Params) -> None:
    memory = Path("/dev/shm")  # noqa: S108  # a file system of its own, where there is one
    if not memory.is_dir() or memory.stat().st_dev == workspace.root.stat().st_dev:
        pytest.skip("one file system only")
    elsewhere = memory / f"patchcore-test-{os.getpid()}"
    try:
        fill(elsewhere, workspace)
        contents = tree(elsewhere)
        workspace.drop("part").parent.mkdir(parents=True)
        workspace.drop("part").symlink_to(elsewhere)
        ingest(workspace, "part", workspace.drop("part"), params)
        check_outcome(workspace, elsewhere, contents)
        assert tree(elsewhere) == {}
    finally:
        shutil.rmtree(elsewhere)


def test_a_link_in_the_drop_folder_is_followed_into_quarantine(workspace: Workspace, params: Params) -> None:
    drop = workspace.drop("part")
    (drop / "deeper").mkdir(parents=True)
    (workspace.root / "note.txt").write_text("hello")
    (drop / "deeper/note.txt").symlink_to("../../../note.txt")
    leave_alone(drop)
    os.utime(workspace.root / "note.txt", (1_700_000_000, 1_700_000_000))
    (rejected,) = ingest(workspace, "part", drop, params).quarantined
    assert (workspace.root / rejected.path).read_text() == "hello"
    assert list((drop / "deeper").iterdir()) == []
    assert (workspace.root / "note.txt").exists()


@pytest.mark.parametrize("moves", [True, False])
def test_what_is_no_file_is_skipped_with_the_reason_and_keeps_out_nothing_else(
    workspace: Workspace, tmp_path: Path, params: Params, moves: bool
) -> None:
    folder = workspace.drop("part") if moves else tmp_path / "foreign"
    draw(folder / "deeper/good.png", 700)
    (folder / "link").symlink_to(workspace.evaluation("part"))
    os.mkfifo(folder / "deeper/pipe")
    leave_alone(folder / "deeper")
    result = ingest(workspace, "part", folder, params)
    assert [Path(each.source).name for each in result.taken] == ["good.png"]
    assert [(Path(each.source).name, each.reason.partition(":")[0]) for each in result.skipped] == [
        ("link", "a link to a folder"),
        ("pipe", "a pipe, a socket or a device"),
    ]
    assert (folder / "link").is_symlink()
    assert (result.quarantined, result.waiting) == ((), ())


def test_a_folder_of_links_is_refused_with_the_reason(workspace: Workspace, tmp_path: Path, params: Params) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/link").symlink_to(workspace.evaluation("part"))
    with pytest.raises(Refused, match="holds no images: got a link to a folder"):
        ingest(workspace, "part", tmp_path / "foreign", params)


@pytest.mark.parametrize("moves", [True, False])
def test_an_image_that_was_withdrawn_is_not_taken_again_under_any_name(
    workspace: Workspace, tmp_path: Path, params: Params, moves: bool
) -> None:
    folder = workspace.drop("part") if moves else tmp_path / "foreign"
    digest = sha256_of(draw(folder / "again.png", 700))
    draw(folder / "new.png", 701)
    leave_alone(folder)
    result = ingest(workspace, "part", folder, params, withdrawn={digest: "withdrawn by eva: a crack"})
    assert [Path(each.source).name for each in result.taken] == ["new.png"]
    (rejected,) = result.quarantined
    assert rejected.reason == "withdrawn by eva: a crack"
    assert files.read_json(workspace.root / f"{rejected.path}.reason.json")["reason"] == rejected.reason


@pytest.mark.parametrize("moves", [True, False])
def test_a_name_that_cannot_be_kept_is_rejected_and_the_rest_goes_through(
    workspace: Workspace, tmp_path: Path, params: Params, moves: bool
) -> None:
    folder = workspace.drop("part") if moves else tmp_path / "foreign"
    broken = draw(folder / "broken.png", 700)
    long = draw(folder / f"{'n' * 251}.png", 701)
    draw(folder / os.fsdecode(b"folder\xfe") / "good.png", 702)
    digests = sha256_of(broken), sha256_of(long)
    broken.rename(folder / os.fsdecode(b"caf\xe9.png"))
    leave_alone(folder)
    result = ingest(workspace, "part", folder, params)
    assert [each.source.endswith("/folder\\xfe/good.png") for each in result.taken] == [True]
    assert (workspace.good_normals("part") / "good.png").is_file()
    first, second = result.quarantined
    assert Path(first.path).name == f"{digests[0][:12]}-caf\\xe9.png"
    assert first.reason == "name: got bytes that are not UTF-8, expected a name in UTF-8"
    assert second.reason == "name: got 255 bytes, expected at most 150"
    for each, digest in zip(result.quarantined, digests, strict=True):
        assert sha256_of(workspace.root / each.path) == digest
        assert files.read_json(workspace.root / f"{each.path}.reason.json")["reason"] == each.reason
    files.canonical_json([each.source for each in result.taken] + [each.source for each in result.quarantined])
    assert (tree(folder) == {}) == moves


def test_hidden_files_of_others_are_left_alone(workspace: Workspace, params: Params) -> None:
    normals, quarantine = workspace.good_normals("part"), workspace.quarantine("part")
    quarantine.mkdir(parents=True)
    theirs = [normals / ".x.original", quarantine / ".note.reviewed", normals / ".1.png.swp_file"]
    ours = [normals / ".new.png.patchcore-staged", normals / "..new.png.patchcore-staged.ab_d3fgh"]
    for path in (*theirs, *ours):
        path.write_text("hello")
    ingest(workspace, "part", workspace.drop("part"), params)
    assert all(path.exists() for path in theirs)
    assert not any(path.exists() for path in ours)
