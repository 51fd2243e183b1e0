"""Telling somebody else what happened: one POST to the address in PATCHCORE_WEBHOOK_URL, which is a secret.

A notification is a courtesy: one that cannot be delivered is said so in a line, and nothing fails. No word of ours, of
an error or of a log holds the address or a part of it; that is why the errors of the library are not repeated.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException, InvalidURL
from urllib.parse import urlsplit

from patchcore.adapters.ledger.records import Event

ADDRESS = "PATCHCORE_WEBHOOK_URL"
"""Environment variable: where to; nobody is told where it is not set."""

_ATTEMPTS = 3
_PASSED_ON = ("dataset_version", "bank_version", "production", "outcome", "verdict", "reasons")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nobody: a redirected POST becomes a GET without the message, and a secret would go elsewhere."""
        return


def notify(event: Event, text: str, *, timeout: float = 5.0, pause: float = 1.0) -> str | None:
    """Tell the webhook, if there is one, what was recorded; return why it does not know, None where it does.

    Args:
        event: the record in the ledger.
        text: the same in a sentence; chat programs show the message's `text`.
        timeout: seconds for each attempt to connect, and for the answer.
        pause: seconds before the second attempt; twice as many before the third.
    """
    from patchcore.config.settings import read_settings

    secret = read_settings().webhook_url
    address = secret.get_secret_value().strip() if secret else ""
    if not address:
        return None
    failure = _deliver(address, _message(event, text), timeout, pause)
    if failure is None:
        return None
    warning = f"the webhook in {ADDRESS} was not told: {failure}"
    sys.stderr.write(f"warning: {warning}\n")
    return warning


def _message(event: Event, text: str) -> bytes:
    passed_on = {key: event.summary.get(key) for key in _PASSED_ON}
    about = {"event": event.action, "category": event.category, "who": event.who, "at": event.at}
    return json.dumps({**about, **passed_on, "record": event.sequence or None, "text": text}).encode()


def _deliver(address: str, message: bytes, timeout: float, pause: float) -> str | None:
    """Return None when it was taken, else what came in between."""
    failure, again = _post(address, message, timeout)
    for attempt in range(1, _ATTEMPTS):
        if failure is None or not again:
            break
        time.sleep(pause * attempt)
        failure, again = _post(address, message, timeout)
    return failure


def _post(address: str, message: bytes, timeout: float) -> tuple[str | None, bool]:
    """Return what failed, None where nothing did, and whether another attempt may help."""
    if _scheme(address) not in {"http", "https"}:
        return "its address does not begin with http:// or https://", False
    try:
        request = urllib.request.Request(address, message, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout):
            return None, False
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}", error.code >= 500 or error.code in {408, 429}
    except (OSError, HTTPException, ValueError) as error:
        return _kind(error), not isinstance(error, ValueError | InvalidURL)


def _scheme(address: str) -> str | None:
    try:
        return urlsplit(address).scheme
    except ValueError:
        return None


def _kind(error: Exception) -> str:
    """Return what kind of error it is; its words may quote the address, or the name of the host."""
    reason = getattr(error, "reason", error)
    return type(reason if isinstance(reason, Exception) else error).__name__
