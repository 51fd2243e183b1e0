"""Anchors: written in every place whatever stands there, read from every place, and what is none is named."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from patchcore._util.files import write_bytes
from patchcore.config.params import load_params
from patchcore.errors import Refused
from patchcore.evidence.anchors import read_anchors
from patchcore.lifecycle.evidence.anchoring import anchor, anchors
from patchcore.lifecycle.evidence.verification import verify
from patchcore.lifecycle.services import Services
from tests.support.fake_services import Notes, git

HASH = "ab" * 32
WHOLE = json.dumps({"size": 3, "head": HASH, "root": HASH})


def test_a_ledger_without_an_anchor_is_said_to_have_none(services: Services) -> None:
    found = verify(services, banks=False)
    assert found.ok
    assert found.notes == (
        "no anchor was found: that the newest records were not removed or rewritten cannot be checked",
    )
    anchor(services)
    assert (verify(services, banks=False).notes, verify(services, banks=False).anchors) == ((), 2)


def test_tags_are_read_where_none_are_written(services: Services) -> None:
    anchor(services)
    text = services.workspace.params.read_text()
    services.workspace.params.write_text(text.replace("commit: true", "commit: false"))
    silent = replace(services, params=load_params(services.workspace.params))
    assert not silent.params.versioning.commit
    assert [each.where for each in anchors(silent).anchors] == [f"git tag patchcore-ledger-{_size(services)}"]
    silent.ledger.record_event("bottle", "ingest", {}, who="ann")
    assert anchor(silent).places == ("MLflow, bottle",)


def test_without_a_repository_there_are_no_tags(services: Services, tmp_path: Path) -> None:
    (services.workspace.root / ".git").rename(tmp_path / "moved")
    assert anchors(services).problems == []
    (services.workspace.root / ".git").write_text("gitdir: nowhere")
    assert anchors(services).problems == []


def test_a_repository_that_git_does_not_read_is_a_problem(services: Services) -> None:
    (services.workspace.root / ".git" / "config").write_text("no config")
    (problem,) = anchors(services).problems
    assert "git for-each-ref failed" in problem


def test_an_anchor_is_a_tag_without_a_signature_whoever_signs_his_own(services: Services, tmp_path: Path) -> None:
    root, key = services.workspace.root, tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(key)), ("tag.gpgSign", "true")):
        git(root, "config", name, value)
    git(root, "config", "core.commentChar", "{")
    done = anchor(services)
    assert done.failures == ()
    tag = f"patchcore-ledger-{done.checkpoint.size}"
    assert "SIGNATURE" not in git(root, "cat-file", "tag", tag)
    assert verify(services, banks=False).problems == ()
    # One of the days when they were signed names the same records.
    message = git(root, "tag", "--list", "--format=%(contents)", tag).strip()
    git(root, "tag", "--delete", tag)
    git(root, "tag", "--sign", "--cleanup=verbatim", "--message", f"{message}\n", tag)
    assert "SIGNATURE" in git(root, "cat-file", "tag", tag)
    found = anchors(services)
    assert [each.size for each in found.anchors if "git" in each.where] == [done.checkpoint.size]
    assert found.notes == []


def test_a_tag_that_is_no_anchor_is_named_and_keeps_nobody_from_the_others(services: Services) -> None:
    root = services.workspace.root
    git(root, "tag", "patchcore-ledger-foo")
    git(root, "tag", "--annotate", "--message", '{"size": Infinity}', "patchcore-ledger-bar")
    (root / "message").write_bytes(b"caf\xe9")
    git(root, "-c", "i18n.commitEncoding=latin1", "tag", "--annotate", "--file", "message", "patchcore-ledger-baz")
    assert anchor(services).failures == ()
    found = verify(services, banks=False)
    assert (found.problems, found.anchors) == ((), 2)
    assert [note.partition(":")[0] for note in found.notes] == [
        f"anchor in git tag patchcore-ledger-{name}" for name in ("bar", "baz", "foo")
    ]


def test_an_anchor_that_finds_its_tag_taken_is_not_said_to_be_written(services: Services) -> None:
    size = services.ledger.checkpoint().size
    git(services.workspace.root, "tag", f"patchcore-ledger-{size}")
    (failure,) = anchor(services).failures
    assert f"git tag patchcore-ledger-{size}" in failure


@pytest.mark.parametrize(
    "text",
    [
        '{"size": Infinity}',
        '{"size": 3.5, "head": "x", "root": "x"}',
        f'{{"size": {"9" * 30}, "head": "{HASH}", "root": "{HASH}"}}',
        f'{{"size": true, "head": "{HASH}", "root": "{HASH}"}}',
        f'{{"size": -1, "head": "{HASH}", "root": "{HASH}"}}',
        f'{{"size": 3, "head": "{HASH[1:]}", "root": "{HASH}"}}',
        "[" * 100_000,
        "null",
        "\x1b[32mthe ledger is sound",
    ],
)
def test_what_stands_where_anchors_do_and_is_none_is_named(
    text: str, services: Services, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "anchors.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(file))
    anchor(services)
    notes.texts["bottle"] = text
    write_bytes(file, f"{text}\n".encode() + b"\xff\n" + file.read_bytes())
    found = verify(services, banks=False)
    assert (found.problems, found.anchors) == ((), 2)
    where = [note.partition(":")[0] for note in found.notes]
    assert where == ["anchor in MLflow, bottle", f"anchor in {file}, line 1", f"anchor in {file}, line 2"]
    assert all(note.isprintable() for note in found.notes)
    (failure,) = anchor(services).failures  # MLflow keeps one note: this one may be evidence
    assert "anchor in MLflow, bottle" in failure
    assert notes.texts["bottle"] == text


def test_a_line_that_a_crash_cut_short_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    file.write_text(f"{WHOLE[:40]}\n{WHOLE}\r\n\n{WHOLE[:-1]}")
    found = read_anchors(file)
    assert [each.where for each in found.anchors] == [f"{file}, line 2"]
    assert found.notes == []


def test_what_is_none_of_the_anchors_that_are_given_is_named_too(tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    file.write_bytes(WHOLE.encode() + b"\n\xff\xfe\n")
    found = read_anchors(file)
    assert len(found.anchors) == 1
    assert f"{file}, line 2" in found.notes[0]
    file.write_text("other things\n")
    with pytest.raises(Refused, match="other things"):
        read_anchors(file)


def test_the_digits_of_a_hash_may_be_upper_case(tmp_path: Path) -> None:
    file = tmp_path / "anchor.jsonl"
    file.write_text(json.dumps({"size": 3, "head": HASH.upper(), "root": HASH.upper()}))
    (one,) = read_anchors(file).anchors
    assert (one.head, one.root) == (HASH, HASH)


def test_a_place_that_does_not_answer_is_a_problem_and_the_others_are_read(services: Services, notes: Notes) -> None:
    anchor(services)
    notes.answers = False
    found = verify(services, banks=False)
    assert (found.anchors, found.records, found.ok) == (1, _size(services) + 1, False)
    (problem,) = found.problems
    assert problem.startswith("anchors in MLflow, bottle cannot be read: MLflow: got connection refused")


def test_a_ledger_is_anchored_before_its_first_record_and_after(services: Services, notes: Notes) -> None:
    empty = "".join(f'"{name}": "{value}", ' for name, value in (("head", "0" * 64), ("root", _NO_LEAVES)))
    notes.texts["bottle"] = f'{{{empty}"size": 0}}'
    assert verify(services, banks=False).problems == ()
    assert anchor(services).failures == ()


_NO_LEAVES = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _size(services: Services) -> int:
    return services.ledger.checkpoints()[-1].size
