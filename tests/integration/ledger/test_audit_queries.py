"""Questions that the ledger alone answers, through the command line, on SQLite and on PostgreSQL."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.records import ImageScore
from patchcore.adapters.ledger.times import now
from patchcore.config.workspace import Workspace
from tests.support.errors import line_of
from tests.support.ledgers import (
    add_bank,
    add_batch,
    add_dataset,
    bank_digest,
    decide,
    digest,
    fill,
    labelled,
    normal,
    scored,
    unreadable,
)

Done = CompletedProcess[str]
Run = Callable[..., Done]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def place(empty_workspace: Workspace) -> Workspace:
    return empty_workspace


@pytest.fixture
def ask(run: Run, place: Workspace, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the ledger of the test."""
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", ledger_url)
    return _asking(run, place)


@pytest.fixture
def ask_filled(run: Run, place: Workspace, filled_ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the ledger that `fill` filled."""
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", filled_ledger_url)
    return _asking(run, place)


@pytest.fixture
def filled(filled_ledger_url: str) -> Ledger:
    return Ledger(filled_ledger_url)


def _asking(run: Run, place: Workspace) -> Ask:
    def answer(*question: object, code: int = 0) -> dict[str, Any]:
        done = run("audit", *question, "--json", "-w", place.root)
        assert done.returncode == code, done.stderr
        assert done.stdout.count("\n") == 1
        value: dict[str, Any] = json.loads(done.stdout)
        return value

    return answer


def test_batch_lists_its_scorings_its_overrides_and_the_size_of_the_data_set(ask_filled: Ask) -> None:
    value = ask_filled("batch", "monday")
    assert (value["scoring"], value["bank_version"], value["archived"]) == (2, 2, False)
    assert [(each["scoring"], each["bank_version"], each["reason"]) for each in value["scorings"]] == [
        (1, 1, None),
        (2, 2, "a new bank"),
    ]
    (override,) = value["overrides"]
    assert (override["path"], override["old"], override["new"], override["who"], override["scoring"]) == (
        "shift/scratch.png",
        False,
        True,
        "eve",
        2,
    )
    assert value["dataset_images"] == {"count": 5, "images": None}
    assert (value["promotion"]["action"], value["promotion"]["to_version"]) == ("promote", 2)
    first = ask_filled("batch", "monday", "--scoring", 1)
    assert (first["bank_version"], first["images"][1]["score"], first["promotion"]["to_version"]) == (1, 7.0, 1)


def test_batch_leads_to_the_images_of_its_data_set_version(ask_filled: Ask) -> None:
    for number, extra in ((1, []), (2, [asdict(normal("three.png"))])):
        listed = ask_filled("batch", "monday", "--scoring", number, "--images")["dataset_images"]
        expected = [normal("one.png"), normal("two.png"), labelled("good.png"), labelled("bad.png", "scratch")]
        assert listed["images"] == sorted([*map(asdict, expected), *extra], key=lambda image: image["path"])
        assert listed["count"] == len(listed["images"])
        assert ask_filled("dataset", "bottle", number)["dataset_images"] == listed
    assert ask_filled("dataset", "bottle", 2)["banks"] == [2]


def test_a_refused_or_proposed_bank_that_scored_has_no_promotion(ask: Ask, ledger: Ledger) -> None:
    add_dataset(ledger, [normal("one.png")])
    add_bank(ledger, 1)
    decide(ledger, 1, "refuse")
    decide(ledger, 1, "propose")
    add_batch(ledger, "trial", 1, [scored("a.png")])
    assert ask("batch", "trial")["promotion"] is None


def test_image_tells_all_fields_of_each_scoring_and_who_decided_otherwise(ask_filled: Ask, filled: Ledger) -> None:
    first, second = ask_filled("image", digest("scratch.png"))["records"]
    stated = asdict(filled.scorings("monday")[0])
    assert {name: first[name] for name in stated if name != "reason"} == {
        name: said for name, said in stated.items() if name != "reason"
    }
    assert (first["score"], first["anomalous"], first["overrides"]) == (7.0, True, [])
    assert (second["score"], second["anomalous"], second["rescore_reason"]) == (2.0, False, "a new bank")
    assert [(entry["who"], entry["new"]) for entry in second["overrides"]] == [("eve", True)]


def test_image_says_why_it_could_not_be_scored_and_why_its_batch_was_scored_again(ask_filled: Ask) -> None:
    first, second = ask_filled("image", digest("torn.png"))["records"]
    assert first["reason"] == second["reason"] == "got a truncated file, expected an image"
    assert (first["rescore_reason"], second["rescore_reason"]) == (None, "a new bank")
    assert (first["score"], first["anomalous"]) == (None, None)


def test_normal_leads_from_an_image_to_its_banks_and_their_batches(ask_filled: Ask) -> None:
    value = ask_filled("normal", digest("three.png"))
    place = {"category": "bottle", "path": "data/bottle/train/good/three.png", "part": "train"}
    assert value["memberships"] == [{**place, "first": 2, "last": 2, "present": False, "normal": True}]
    (bank,) = value["banks"]
    assert (bank["bank_version"], bank["bank_sha256"], bank["dataset_version"]) == (2, bank_digest("bottle", 2), 2)
    assert (bank["role"], bank["rows"]) == (None, None)  # the bank is not on this machine
    counts = ("batch", "scoring", "scored", "passed", "anomalous", "failed", "overridden")
    assert [tuple(batch[name] for name in counts) for batch in bank["batches"]] == [
        ("monday", 2, 2, 2, 0, 1, 1),
        ("tuesday", 1, 1, 1, 0, 0, 0),
    ]
    assert value["measured"] == value["unlisted"] == []
    everywhere = ask_filled("normal", digest("one.png"))
    assert everywhere["memberships"][0]["last"] is None
    assert [bank["bank_version"] for bank in everywhere["banks"]] == [1, 2, 3]


def test_normal_tells_an_evaluation_image_apart(ask_filled: Ask) -> None:
    value = ask_filled("normal", digest("new.png"))
    (membership,) = value["memberships"]
    assert (membership["part"], membership["normal"]) == ("test/scratch", False)
    assert value["banks"] == []
    assert [(bank["category"], bank["bank_version"]) for bank in value["measured"]] == [("bottle", 3)]


def test_normal_finds_an_image_that_came_back_under_another_name(ask: Ask, ledger: Ledger) -> None:
    moved = [normal("two.png"), normal("one.png")]
    for number, images in enumerate((moved, moved[:1], [*moved[:1], normal("one.png", "../other")]), start=1):
        add_dataset(ledger, images)
        add_bank(ledger, number)
    value = ask("normal", digest("one.png"))
    assert [(place["first"], place["last"]) for place in value["memberships"]] == [(1, 1), (3, None)]
    assert [bank["bank_version"] for bank in value["banks"]] == [1, 3]


def test_normal_names_the_data_set_versions_whose_images_are_not_known(ask: Ask, ledger: Ledger) -> None:
    ledger.record_dataset(
        "bottle", "d1", normals=2, evaluation_images=0, pointers={}, git_commit=None, who="ann"
    )  # as format 1 had it: without images
    add_dataset(ledger, [normal("one.png")])
    add_dataset(ledger, [normal("one.png")], "cable")
    assert ask("normal", digest("one.png"))["unlisted"] == [{"category": "bottle", "dataset_version": 1}]
    assert ask("dataset", "bottle", 1)["dataset_images"] == {"count": 2, "images": None}


def test_bank_counts_what_each_batch_let_through(ask: Ask, ledger: Ledger) -> None:
    fill(ledger)
    value = ask("bank", "bottle", 1)
    (batch,) = value["batches"]
    assert (batch["batch"], batch["scored"], batch["passed"], batch["anomalous"]) == ("monday", 2, 1, 1)
    assert (value["certificate"], value["run_id"]) == (None, "run1")
    add_bank(ledger, 4)
    add_batch(ledger, "broken", 4, [unreadable("a.png")])
    add_batch(ledger, "empty", 4, [])
    counts = [(entry["passed"], entry["anomalous"], entry["failed"]) for entry in ask("bank", "bottle", 4)["batches"]]
    assert counts == [(0, 0, 1), (0, 0, 0)]


def test_at_says_who_decided_and_why(ask_filled: Ask, filled: Ledger) -> None:
    first, second = (entry for entry in filled.history("bottle")[:2])
    value = ask_filled("at", "bottle", second.at)
    assert (value["bank_version"], value["from_version"], value["who"], value["reason"]) == (2, 1, "bob", "promote 2")
    assert (value["since"], value["until"]) == (second.at, filled.history("bottle")[4].at)
    assert value["decision"]["sequence"] == second.sequence
    assert ask_filled("at", "bottle", first.at)["from_version"] is None


def test_compare_counts_agreement_and_lists_disagreement(ask_filled: Ask) -> None:
    value = ask_filled("compare", "bottle", 1, 2)
    counts = ("batches", "compared", "agreeing", "anomalous_for_first_only", "anomalous_for_second_only")
    assert [value[name] for name in counts] == [["monday"], 2, 1, 1, 0]  # torn.png has no score
    (found,) = value["disagreements"]
    assert (found["batch"], found["path"], found["first_score"], found["second_score"]) == (
        "monday",
        "shift/scratch.png",
        7.0,
        2.0,
    )
    turned = ask_filled("compare", "bottle", 2, 1)
    assert [turned[name] for name in counts] == [["monday"], 2, 1, 0, 1]
    assert ask_filled("compare", "bottle", 1, 3)["compared"] == 0


def test_compare_of_banks_with_no_batch_in_common_says_how_to_get_one(
    ask_filled: Ask, run: Run, place: Workspace
) -> None:
    assert ask_filled("compare", "bottle", 1, 3)["batches"] == []
    (line,) = run("audit", "compare", "bottle", 1, 3, "-w", place.root).stdout.splitlines()
    assert "no batch was scored by both 1 and 3" in line
    assert line.endswith("patchcore score bottle FOLDER --batch BATCH --rescore --reason TEXT")


def test_compare_leaves_images_of_other_bytes_out(ask: Ask, ledger: Ledger) -> None:
    add_dataset(ledger, [normal("one.png")])
    for version in (1, 2):
        add_bank(ledger, version)
    add_batch(ledger, "b", 1, [scored("same.png", 1.0), scored("other.png", 1.0)])
    changed = ImageScore("shift/other.png", digest("other bytes"), 9.0, 0.1, True, None)
    add_batch(ledger, "b", 2, [scored("same.png", 2.0), changed, scored("more.png", 9.0)], reason="again")
    add_batch(ledger, "whole", 1, [scored("x.png", 1.0), scored("y.png", 9.0)])
    add_batch(ledger, "whole", 2, [scored("x.png", 1.5), scored("y.png", 8.0)], reason="again")
    value = ask("compare", "bottle", 1, 2)
    assert (value["batches"], value["compared"], value["agreeing"]) == (["b", "whole"], 3, 3)
    assert value["disagreements"] == []


def test_history_tells_every_decision_with_its_gate_and_approval_and_each_reconciliation(
    ask: Ask, ledger: Ledger
) -> None:
    fill(ledger)
    decide(ledger, 1, "rollback", verdict={}, reason="recall", who="eve")
    decide(ledger, 2, forced=True, verdict={"passed": False}, reason="it must")
    value = ask("history", "bottle")
    story = [(entry["action"], entry.get("from_version"), entry.get("to_version")) for entry in value["history"]]
    assert story == [
        ("promote", None, 1),
        ("promote", 1, 2),
        ("refuse", 2, 3),
        ("propose", 2, 3),
        ("promote", 2, 3),
        ("reconcile", None, None),
        ("rollback", 3, 1),
        ("promote", 1, 2),
    ]
    proposed, approved = value["history"][3:5]
    assert (proposed["approved_by"], approved["proposal"]) == (approved["sequence"], proposed["sequence"])
    assert [entry.get("passed") for entry in value["history"]] == [True, True, False, True, True, None, None, False]
    last = value["history"][-1]
    assert (last["forced"], last["who"], last["reason"]) == (True, "ann", "it must")
    assert value["history"][5]["summary"] == {"was": 2, "is": 3}
    assert value["production"] == 2


def test_a_withdrawal_stands_in_the_history_and_with_its_image(
    ask: Ask, run: Run, place: Workspace, ledger: Ledger
) -> None:
    one, two = normal("one.png"), normal("two.png")
    add_dataset(ledger, [one, two])
    add_bank(ledger, 1)
    decide(ledger, 1)
    add_dataset(ledger, [one])
    summary = {"path": two.path, "sha256": two.sha256, "reason": "a crack", "dataset_version": 2}
    event = ledger.record_event("bottle", "withdraw", summary, who="eve")
    add_bank(ledger, 2)
    decide(ledger, 2)
    told = ask("history", "bottle")["history"]
    assert [(entry["kind"], entry["action"]) for entry in told] == [
        ("decision", "promote"),
        ("event", "withdraw"),
        ("decision", "promote"),
    ]
    assert (told[1]["who"], told[1]["at"], told[1]["summary"]) == ("eve", event.at, summary)
    (withdrawn,) = ask("normal", two.sha256)["withdrawn"]
    assert withdrawn == {
        "sequence": event.sequence,
        "category": "bottle",
        "at": event.at,
        "who": "eve",
        "path": two.path,
        "reason": "a crack",
        "dataset_version": 2,
    }
    assert ask("normal", one.sha256)["withdrawn"] == []
    at = event.at.replace("T", " ")
    assert f"  withdrawn {at} by eve: a crack\n" in run("audit", "normal", two.sha256, "-w", place.root).stdout
    shown = " ".join(run("audit", "history", "bottle", "-w", place.root).stdout.replace("│", " ").split())
    assert f"withdraw eve {two.path}: a crack; data-set" in shown


def test_history_says_in_sentences_what_was_put_right(run: Run, ask: Ask, place: Workspace, ledger: Ledger) -> None:
    add_dataset(ledger, [normal("one.png")])
    repairs = ["the alias named nothing; it follows", "the tag said so; it says so again"]
    ledger.record_event("bottle", "reconcile", {"was": None, "is": 3, "repairs": repairs}, who="bob")
    assert ask("history", "bottle")["history"][0]["summary"]["repairs"] == repairs
    shown = " ".join(run("audit", "history", "bottle", "-w", place.root).stdout.replace("│", " ").split())
    assert all(words in shown for words in ("was: nothing, is: version 3;", "it says so again"))
    assert not set("[]{}'") & set(shown)


def test_history_of_a_category_that_was_never_promoted_is_empty(ask: Ask, ledger: Ledger) -> None:
    add_dataset(ledger, [normal("one.png")])
    assert ask("history", "bottle") == {"category": "bottle", "production": None, "history": []}


@pytest.fixture
def shift(place: Workspace, ledger: Ledger) -> Path:
    """A folder of two files and one more below it, scored as batch night."""
    folder = place.root / "line" / "shift"
    (folder / "late").mkdir(parents=True)
    images = []
    for name in ("a.png", "b.png", "late/c.png"):
        (folder / name).write_text(name)
        sha256 = sha256_of(folder / name)
        images.append(ImageScore(f"line/shift/{name}", sha256, 1.0, 0.5, False, None))
    add_dataset(ledger, [normal("one.png")])
    add_bank(ledger, 1)
    add_batch(ledger, "night", 1, images)
    return folder


def test_completeness_of_a_batch_whose_files_are_there(ask: Ask, shift: Path) -> None:
    value = ask("completeness", "night")
    assert (value["complete"], value["problems"], value["files"], value["folder"]) == (True, [], 3, "line/shift")
    assert (value["received"], value["scored"], value["failed"], value["images"]) == (3, 3, 0, 3)


def test_completeness_names_files_that_are_missing_changed_or_new(
    ask: Ask, run: Run, place: Workspace, shift: Path
) -> None:
    (shift / "a.png").unlink()
    (shift / "b.png").write_text("changed")
    (shift / "late/d.png").write_text("new")
    value = ask("completeness", "night", code=3)
    assert "NOT complete" in run("audit", "completeness", "night", "-w", place.root).stdout
    words = {entry["path"]: entry["problem"] for entry in value["problems"]}
    assert words["a.png"] == "recorded, but not in the folder"
    assert words["b.png"].startswith(f"sha256 {sha256_of(shift / 'b.png')} instead of")
    assert words["late/d.png"] == "in the folder, but not recorded"
    assert len(words) == 3
    assert (value["complete"], value["recorded_completely"]) == (False, True)
    assert "batch night is not complete: got a.png" in line_of(value["error"])


def test_completeness_follows_files_that_were_moved(
    ask: Ask, run: Run, place: Workspace, shift: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.move(shift, tmp_path / "archive"))
    gone = ask("completeness", "night", code=3)
    assert (gone["complete"], gone["recorded_completely"], gone["folder"], gone["files"]) == (False, True, None, None)
    assert "the batch: its files were not compared: their folder is gone" in line_of(gone["error"])
    title = "scoring 1: recorded completely; its files were NOT compared: their folder is gone\n"
    assert title in run("audit", "completeness", "night", "-w", place.root).stdout
    assert ask("completeness", "night", "--folder", moved)["files"] == 3
    assert line_of(ask("completeness", "night", "--folder", tmp_path / "nowhere", code=3)["error"]).startswith(
        "no batch in"
    )
    shift.mkdir()
    assert len(ask("completeness", "night", code=3)["problems"]) == 3  # emptied since


def test_completeness_knows_the_folder_when_all_images_lay_below_it(ask: Ask, place: Workspace, ledger: Ledger) -> None:
    deep = place.root / "line" / "monday" / "left"
    deep.mkdir(parents=True)
    (deep / "a.png").write_text("a")
    add_dataset(ledger, [normal("one.png")])
    add_bank(ledger, 1)
    image = ImageScore("line/monday/left/a.png", sha256_of(deep / "a.png"), 1.0, 0.5, False, None)
    add_batch(ledger, "night", 1, [image])
    for folder in (deep, deep.parent, deep.parents[1]):
        assert ask("completeness", "night", "--folder", folder)["complete"]


def test_a_question_without_an_answer_gets_one_clear_line(ask_filled: Ask, run: Run, place: Workspace) -> None:
    questions = (
        (("batch", "4711"), 3, "no batch '4711' in the ledger"),
        (("batch", "monday", "--scoring", "3"), 3, "no scoring 3 of batch 'monday' in the ledger"),
        (("dataset", "bottle", "4"), 3, "no data-set version 4 of bottle in the ledger: got 4, expected 1 to 3"),
        (("dataset", "cable", "1"), 3, "no data-set version 1 of cable in the ledger"),
        (("bank", "bottle", "9"), 3, "the ledger has no bank version 9 of bottle"),
        (("compare", "bottle", "1", "9"), 3, "the ledger has no bank version 9 of bottle"),
        (("compare", "bottle", "1", "1"), 2, "bank version 1 of bottle cannot be compared with itself"),
        (("normal", "nowhere.png"), 2, "nowhere.png is not an image"),
        (("history", "cable"), 3, "no category cable in the ledger"),
        (("at", "cable", "2020-01-01"), 3, "cable had no bank in production at 2020-01-01T00:00:00.000000Z"),
        (("at", "bottle", "2999-01-01"), 3, "the time is in the future: got 2999-01-01T00:00:00.000000Z"),
        (("at", "bottle", "yesterday"), 2, "'yesterday' is not a time"),
        (("completeness", "4711"), 3, "no batch '4711' in the ledger"),
    )
    for question, code, words in questions:
        assert line_of(ask_filled(*question, code=code)["error"]).startswith(words)
        done = run("audit", *question, "-w", place.root)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"error: {words}"), done.stderr
        assert done.stderr.count("\n") == 1


def test_tables_fit_100_columns_and_show_the_answer(
    ask_filled: Ask, run: Run, place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    questions = (
        (
            ("batch", "monday", "--images"),
            ("scoring 2 of 2", "a new bank", "I can see it", "images: 3", "three.png"),
        ),
        (("dataset", "bottle", "3"), ("its images: 5", "test/scratch", "banks built from it")),
        (("image", digest("scratch.png")), ("2 scorings", "normal, then", "ANOMALOUS", "eve")),
        (("normal", digest("three.png")), ("2 to 2", "not on this machine", "tuesday", "passed")),
        (("normal", digest("new.png")), ("evaluation, scratch", "evaluated on it, not built from it: bottle 3")),
        (("normal", digest("nobody")), ("in no data-set version",)),
        (("bank", "bottle", "1"), ("promote", "monday", "add --fetch to download it")),
        (("at", "bottle", now()), ("until", "now", "eve, promote", "promote 3")),
        (("compare", "bottle", "1", "2"), ("same decision", "shift/scratch.png", "7.0000 ANOMALOUS", "2.0000 normal")),
        (("history", "bottle"), ("in production: version 3", "gate NOT passed", "approves", "reconcile")),
    )
    for question, shown in questions:
        done = run("audit", *question, "-w", place.root)
        assert (done.returncode, done.stderr) == (0, "")
        assert max(map(len, done.stdout.splitlines())) <= 100, done.stdout
        said = " ".join(done.stdout.replace("│", " ").split())
        assert all(words in said for words in shown), done.stdout


def test_a_time_from_the_history_is_answered_with_the_promotion_of_that_time(
    ask_filled: Ask, filled: Ledger, run: Run, place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = run("audit", "history", "bottle", "-w", place.root).stdout
    for decision in filled.history("bottle")[:2]:
        (line,) = (line for line in shown.splitlines() if f" {decision.sequence} " in line.partition("Z")[0])
        time = line.split("│")[2].strip()
        assert ask_filled("at", "bottle", time)["decision"]["sequence"] == decision.sequence


def test_tables_break_no_word_at_80_columns_and_are_wider_where_nobody_said_how_wide(
    filled_ledger_url: str, run: Run, place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", filled_ledger_url)
    words = {"ANOMALOUS", "threshold", "decision", "passed", "alarms", "changed", "calibration", "--fetch"}
    for question in (("normal", digest("three.png")), ("bank", "bottle", "2"), ("image", digest("scratch.png"))):
        monkeypatch.setenv("COLUMNS", "80")
        narrow = run("audit", *question, "-w", place.root).stdout
        monkeypatch.delenv("COLUMNS")
        wide = run("audit", *question, "-w", place.root).stdout
        widths = [max(len(line.rstrip()) for line in shown.splitlines() if "│" in line) for shown in (narrow, wide)]
        assert widths[0] <= 80 < widths[1] <= 120
        cells = {word for word in wide.replace("│", " ").split() if word in words}
        assert cells
        assert cells <= set(narrow.replace("│", " ").split()), narrow


def test_a_long_list_is_cut_with_a_word_about_the_rest(ask: Ask, run: Run, place: Workspace, ledger: Ledger) -> None:
    add_dataset(ledger, [normal(f"{number}.png") for number in range(25)])
    shown = run("audit", "dataset", "bottle", "1", "-w", place.root).stdout
    assert shown.count("train/good/") == 20
    assert shown.endswith("… and 5 more, see --json\n")
    assert len(ask("dataset", "bottle", 1)["dataset_images"]["images"]) == 25
