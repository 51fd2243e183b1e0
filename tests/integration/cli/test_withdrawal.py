"""A normal image that turned out not to be one, taken out by the command line from a real category."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from patchcore._util.files import read_json, sha256_of
from patchcore.cli.demo.data import DemoImages
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.dataset_records import record_dataset
from patchcore.lifecycle.intake import withdrawal
from patchcore.lifecycle.services import open_services
from tests.support.errors import line_of

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def category(bare: Workspace, copy: Callable[[Workspace, Path], Workspace], tmp_path: Path) -> Workspace:
    return copy(bare, tmp_path / "workspace")


def test_a_withdrawn_image_lies_in_quarantine_with_the_reason_and_is_in_no_later_data_set(
    category: Workspace, run: Run
) -> None:
    image = sorted(category.good_normals("cell").iterdir())[3]
    sha256 = sha256_of(image)
    done = run("withdraw", "cell", image.name, "--reason", "a crack", "--json", "-w", category.root)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert (value["sha256"], value["dataset_version"], value["normals"]) == (sha256, 2, 23)
    place = category.root / value["quarantined"]
    assert sha256_of(place) == sha256
    assert read_json(place.with_name(place.name + ".reason.json")) == {
        "reason": "withdrawn: a crack",
        "sha256": sha256,
        "source": category.relative(image),
    }
    services = open_services(category.root)
    (membership,) = services.ledger.memberships(sha256)
    assert (membership.first, membership.last) == (1, 1)
    (event,) = services.ledger.events("cell", "withdraw")
    assert (event.summary["reason"], event.who) == ("a crack", "tester")
    assert sha256 not in {member.sha256 for member in services.ledger.members("cell", 2)}
    assert services.ledger.verify().ok

    note = place.with_name(place.name + ".reason.json")
    kept = note.read_text()
    note.write_text("changed by hand")  # what people do to notes changes nothing
    again = run("withdraw", "cell", sha256, "--reason", "a crack", "--json", "-w", category.root)
    assert json.loads(again.stdout) == value
    note.write_text(kept)
    other = run("withdraw", "cell", sha256, "--reason", "a scratch", "--json", "-w", category.root)
    assert other.returncode == 3
    assert f"withdrawn at {event.at} by tester: a crack" in line_of(json.loads(other.stdout)["error"])
    assert services.ledger.events("cell", "withdraw") == [event]
    assert read_json(place.with_name(place.name + ".reason.json"))["reason"] == "withdrawn: a crack"


def test_a_withdrawal_that_brings_an_earlier_content_back_ends_the_membership(
    category: Workspace, cells: DemoImages, run: Run
) -> None:
    services = open_services(category.root)
    image = Path(shutil.copy(cells.new[0], category.good_normals("cell")))
    sha256 = sha256_of(image)
    assert record_dataset(services, "cell").number == 2
    assert [(place.first, place.last) for place in services.ledger.memberships(sha256)] == [(2, None)]
    done = run("withdraw", "cell", image.name, "--reason", "a crack", "--json", "-w", category.root)
    assert json.loads(done.stdout)["dataset_version"] == 1
    assert [(place.first, place.last) for place in services.ledger.memberships(sha256)] == [(2, 2)]
    again = run("withdraw", "cell", sha256, "--reason", "a crack", "-w", category.root).stdout
    assert f"patchcore audit normal {sha256}\n" in again  # to be pasted
    assert "2 to 2" in run("audit", "normal", sha256, "-w", category.root).stdout
    stayed = sha256_of(sorted(category.good_normals("cell").iterdir())[0])
    assert [(place.first, place.last) for place in services.ledger.memberships(stayed)] == [(1, None)]


def test_an_image_that_was_withdrawn_goes_to_quarantine_when_it_comes_again(
    category: Workspace, cells: DemoImages, run: Run, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    image = Path(shutil.copy(cells.new[0], photos / "bad.png"))
    sha256, services = sha256_of(image), open_services(category.root)
    assert run("ingest", "cell", photos, "-w", category.root).returncode == 0
    assert run("withdraw", "cell", "bad.png", "--reason", "a crack", "-w", category.root).returncode == 0
    image.rename(photos / "another_name.png")
    value = json.loads(run("ingest", "cell", photos, "--json", "-w", category.root).stdout)
    assert (value["taken"], value["dataset_version"], value["normals"]) == ([], 1, 24)
    (withdrawn,) = services.ledger.events("cell", "withdraw")
    (rejected,) = value["quarantined"]
    assert rejected["reason"] == (
        f"withdrawn {withdrawn.at} by tester: a crack; such a file is not taken again, take another picture of the part"
    )
    assert [(place.first, place.last) for place in services.ledger.memberships(sha256)] == [(2, 2)]
    assert [each["path"] for each in services.ledger.events("cell")[-1].summary["quarantined"]] == [rejected["path"]]


def test_an_image_that_a_person_puts_back_is_recorded_as_back_and_withdrawn_again(
    category: Workspace, cells: DemoImages, run: Run
) -> None:
    services, image = open_services(category.root), category.good_normals("cell") / "bad.png"
    for number in range(2):
        shutil.copy(cells.new[0], image)
        if number:  # in a way that nobody records, such as git and DVC
            value = json.loads(run("ingest", "cell", "--json", "-w", category.root).stdout)
            event = services.ledger.events("cell", "ingest")[-1]
            assert (value["dataset_version"], event.summary["dataset_version"], event.summary["new_normals"]) == (
                2,
                2,
                1,
            )
            (place,) = services.ledger.memberships(sha256_of(image))
            assert (place.first, place.last, place.present) == (2, None, True)
        else:
            record_dataset(services, "cell")
        done = run("withdraw", "cell", "bad.png", "--reason", "a crack", "--json", "-w", category.root)
        assert json.loads(done.stdout)["dataset_version"] == 1
        assert len(services.ledger.events("cell", "withdraw")) == number + 1
        assert not image.exists()


def test_what_ingest_rejected_never_was_a_normal_image_and_is_not_withdrawn(category: Workspace, run: Run) -> None:
    category.drop("cell").mkdir(parents=True)
    (category.drop("cell") / "text.png").write_text("no image")
    assert run("ingest", "cell", "-w", category.root).returncode == 0
    (note,) = category.quarantine("cell").glob("*.reason.json")
    digest = read_json(note)["sha256"]
    # A note that a person makes look like one of a withdrawal is none: the ledger decides.
    text = {"source": "data/cell/train/good/text.png", "reason": "withdrawn: a crack", "sha256": digest}
    note.write_text(json.dumps(text))
    for name in ("text.png", "drop/cell/text.png", digest):
        done = run("withdraw", "cell", name, "--reason", "a crack", "-w", category.root)
        assert (done.returncode, "0 of 24 normal images" in done.stderr) == (3, True)
    assert open_services(category.root).ledger.events("cell", "withdraw") == []


def test_the_note_of_a_withdrawal_replaces_that_of_a_rejected_copy_and_keeps_its_reason(
    category: Workspace, run: Run
) -> None:
    image = sorted(category.good_normals("cell").iterdir())[3]
    category.drop("cell").mkdir(parents=True)
    shutil.copy(image, category.drop("cell"))
    assert run("ingest", "cell", "-w", category.root).returncode == 0
    (note,) = category.quarantine("cell").glob("*.reason.json")
    rejected = read_json(note)["reason"]
    assert rejected.startswith("exact duplicates")
    for _ in range(2):  # the same command again changes nothing
        done = run("withdraw", "cell", image.name, "--reason", "a crack", "-w", category.root)
        assert done.returncode == 0, done.stderr
        assert read_json(note) == {
            "reason": "withdrawn: a crack",
            "earlier_reason": rejected,
            "sha256": sha256_of(note.with_name(note.name.removesuffix(".reason.json"))),
            "source": category.relative(image),
        }


def test_a_withdrawal_that_was_killed_after_the_move_is_completed(
    category: Workspace, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sorted(category.good_normals("cell").iterdir())[0]
    with monkeypatch.context() as patch:
        patch.setattr(withdrawal, "note_arrivals", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run("withdraw", "cell", image, "--reason", "a crack", "-w", category.root).returncode == 1
    assert not image.exists()
    (pending,) = (category.state / "withdrawals" / "cell").iterdir()
    done = run("withdraw", "cell", image.name, "--reason", "a crack", "--json", "-w", category.root)
    assert json.loads(done.stdout)["dataset_version"] == 2
    assert not pending.exists()
    assert len(open_services(category.root).ledger.events("cell", "withdraw")) == 1


@pytest.mark.parametrize("image", ["no such image.png", "0" * 64])
def test_what_is_no_normal_image_is_refused(category: Workspace, run: Run, image: str) -> None:
    done = run("withdraw", "cell", image, "--reason", "a crack", "-w", category.root)
    assert done.returncode == 3
    assert "0 of 24 normal images" in done.stderr
    assert not category.quarantine("cell").exists()
