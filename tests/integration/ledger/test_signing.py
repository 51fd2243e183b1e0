"""Signed checkpoints: without the private key nobody writes a ledger's history anew, not even its owner."""

import subprocess
from pathlib import Path

import pytest

from patchcore.adapters.ledger import Ledger, open_ledger
from patchcore.config.workspace import Workspace
from patchcore.errors import InvalidKey
from patchcore.evidence.signing import is_signed, read_signer, trusted_keys
from patchcore.lifecycle.evidence.verification import configured_keys
from tests.support.ledgers import fill


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key as openssl makes them."""
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


def test_checkpoints_are_signed_and_only_trusted_keys_count(ledger_url: str, keys: tuple[Path, Path]) -> None:
    signer = read_signer(str(keys[0]))
    ledger = fill(Ledger(ledger_url, signer=signer))
    checkpoint = ledger.checkpoint()
    trusted = trusted_keys(str(keys[1]))
    assert trusted == {signer.key} == {checkpoint.key} == trusted_keys(f"{signer.key.upper()}, {keys[1]}")
    assert ledger.verify(trusted=trusted).ok
    (problem,) = ledger.verify(trusted={"0" * 64}).problems
    assert "not trusted" in problem
    Ledger(ledger_url).record_event("bottle", "ingest", {}, who="ann")
    Ledger(ledger_url).checkpoint()
    assert ledger.verify().ok
    (problem,) = ledger.verify(trusted=trusted).problems
    assert "not signed" in problem


def test_openssl_agrees_with_a_signature(ledger: Ledger, keys: tuple[Path, Path], tmp_path: Path) -> None:
    signer = read_signer(str(keys[0]))
    signature = signer.sign(b"words")
    assert is_signed(b"words", signer.key, signature)
    assert not is_signed(b"other words", signer.key, signature)
    assert not is_signed(b"words", "no key", signature)
    (tmp_path / "text").write_bytes(b"words")
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature))
    files = ["-inkey", str(keys[1]), "-in", str(tmp_path / "text"), "-sigfile", str(tmp_path / "signature")]
    subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", *files], check=True, capture_output=True)


@pytest.mark.parametrize("content", [None, b"no key", b"rsa"])
def test_a_file_that_holds_no_such_key_is_refused_with_its_name(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    if content == b"rsa":
        subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-out", file], check=True, capture_output=True)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidKey, match="openssl genpkey") as caught:
        read_signer(str(file))
    assert str(file) in caught.value.what
    with pytest.raises(InvalidKey, match="Ed25519 public key"):
        trusted_keys(str(file))


def test_the_environment_names_the_key_that_signs(
    keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATCHCORE_LEDGER_URL", raising=False)
    workspace = Workspace(tmp_path)
    workspace.state.mkdir()
    monkeypatch.setenv("PATCHCORE_SIGNING_KEY", str(keys[0]))
    assert fill(open_ledger(workspace)).checkpoint().key == read_signer(str(keys[0])).key
    monkeypatch.delenv("PATCHCORE_SIGNING_KEY")
    later = open_ledger(workspace)
    later.record_event("bottle", "ingest", {}, who="ann")
    assert later.checkpoint().key is None


@pytest.mark.parametrize("value", ["", ",", " , "])
def test_trusted_keys_without_a_key_are_not_no_trusted_keys(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHCORE_TRUSTED_KEYS", value)
    with pytest.raises(InvalidKey, match="unset PATCHCORE_TRUSTED_KEYS") as caught:
        configured_keys()
    assert caught.value.got == repr(value)
    monkeypatch.delenv("PATCHCORE_TRUSTED_KEYS")
    assert configured_keys() == frozenset()


def test_a_ledger_that_was_signed_from_some_day_on_is_sound(ledger_url: str, keys: tuple[Path, Path]) -> None:
    fill(Ledger(ledger_url)).checkpoint()
    signer = read_signer(str(keys[0]))
    ledger = Ledger(ledger_url, signer=signer)
    assert not ledger.verify(trusted={signer.key}).ok
    ledger.record_event("bottle", "ingest", {}, who="ann")
    ledger.checkpoint()
    assert ledger.verify(trusted={signer.key}).problems == ()
