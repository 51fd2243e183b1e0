"""The webhook, against a real HTTP server on loopback: what is sent, what fails, and what stays secret."""

import socket
from collections.abc import Iterator

import pytest

from patchcore.adapters.ledger.records import Event
from patchcore.lifecycle import webhook as module
from patchcore.lifecycle.webhook import notify
from tests.support.webhooks import SECRET, Hook, listening

SUMMARY = {
    "dataset_version": 7,
    "bank_version": 4,
    "production": 3,
    "outcome": "refused",
    "verdict": "failed",
    "reasons": ["failed: image_auroc 0.8000 < 0.9000"],
    "run_id": "not for others",
}
EVENT = Event(12, "bottle", "retrain", SUMMARY, "eva@fab", "2026-06-10T02:00:00.000000Z")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with listening() as found:
        monkeypatch.setenv(module.ADDRESS, found.address)
        yield found


def send(timeout: float = 30.0) -> str | None:
    return notify(EVENT, "bottle: bank version 4 did not pass the gate", timeout=timeout, pause=0.01)


def test_the_message_holds_event_versions_verdict_reasons_and_a_sentence(hook: Hook) -> None:
    assert send() is None
    assert hook.bodies == [
        {
            "event": "retrain",
            "category": "bottle",
            "dataset_version": 7,
            "bank_version": 4,
            "production": 3,
            "outcome": "refused",
            "verdict": "failed",
            "reasons": ["failed: image_auroc 0.8000 < 0.9000"],
            "text": "bottle: bank version 4 did not pass the gate",
            "who": "eva@fab",
            "at": "2026-06-10T02:00:00.000000Z",
            "record": 12,
        }
    ]


def test_no_log_holds_the_address(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    assert send() is None
    assert SECRET not in caplog.text


def test_without_an_address_nothing_is_sent(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "  "):
        monkeypatch.setenv(module.ADDRESS, value)
        assert send() is None
    monkeypatch.delenv(module.ADDRESS)
    assert send() is None
    assert hook.bodies == []


@pytest.mark.parametrize("first", [[500], [503, 429], [408]])
def test_a_server_that_fails_for_a_moment_is_asked_again(
    hook: Hook, first: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    hook.answers = [*first, 204]
    assert send() is None
    assert len(hook.bodies) == len(first) + 1
    assert hook.bodies[0] == hook.bodies[-1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("answer", "attempts"), [(500, 3), (404, 1), (403, 1), (302, 1)])
def test_a_server_that_declines_is_a_warning_on_stderr(
    hook: Hook, answer: int, attempts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.answers = [answer]
    warning = send()
    assert warning == f"the webhook in PATCHCORE_WEBHOOK_URL did not take the message: it answered {answer}"
    assert len(hook.bodies) == attempts
    assert set(hook.paths) == {f"/{SECRET}"}  # a redirect is not followed
    assert capsys.readouterr().err == f"warning: {warning}\n"


def test_a_server_that_does_not_answer_is_given_up(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    hook.answers = [0]
    warning = send(timeout=0.2)
    assert warning is not None
    assert warning.endswith("did not take the message: TimeoutError")
    assert len(hook.bodies) == 3
    assert SECRET not in capsys.readouterr().err


def test_a_server_that_is_not_there_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(module.ADDRESS, f"http://127.0.0.1:{taken.getsockname()[1]}/{SECRET}")
        warning = send()
    assert warning is not None
    assert warning.endswith("did not take the message: ConnectionRefusedError")
    assert SECRET not in warning + capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    [
        f"ftp://127.0.0.1/{SECRET}",
        f"file:///tmp/{SECRET}",
        f"{SECRET}",
        f"http://[{SECRET}",
        f"http://127.0.0.1:{SECRET}/x",
        f"http://127.0.0.1:1/{SECRET} with spaces",
        f"http://127.0.0.1:1/\x7f{SECRET}",
        f"http:///{SECRET}",
        f"https://{SECRET}.invalid/x",
    ],
)
def test_an_address_that_is_none_is_a_warning_without_a_part_of_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv(module.ADDRESS, address)
    caplog.set_level(0)
    warning = send()
    assert warning is not None
    streams = capfd.readouterr()
    said = (warning + streams.err + streams.out + caplog.text).lower()
    assert not [word for word in (SECRET.lower(), "127.0.0.1", ".invalid") if word in said]


def test_an_encrypted_address_whose_server_is_not_what_it_says_is_a_warning(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(module.ADDRESS, hook.address.replace("http://", "https://"))
    warning = send()
    assert warning is not None
    assert SECRET not in warning + capsys.readouterr().err
    assert hook.bodies == []
