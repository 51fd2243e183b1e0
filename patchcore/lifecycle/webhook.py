"""Send events to a webhook: one POST to the address in PATCHCORE_WEBHOOK_URL, which is a secret.

A webhook that does not take a message causes a warning and no error. No message, error or log entry of this module
contains the address or a part of it; for that reason the texts of the HTTP library's errors are not repeated.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from patchcore.adapters.ledger.records import Event

ADDRESS = "PATCHCORE_WEBHOOK_URL"
"""Environment variable: the address; without it, no message is sent."""

_ATTEMPTS = 3
_SENT_FIELDS = ("dataset_version", "bank_version", "production", "outcome", "verdict", "reasons")


def notify(event: Event, text: str, *, timeout: float = 5.0, pause: float = 1.0) -> str | None:
    """Send an event to the webhook, if there is one.

    Args:
        event: The record in the ledger.
        text: The same as a sentence; chat programs show the message's `text`.
        timeout: Seconds for each attempt to connect, to send, and to receive the answer.
        pause: Seconds before the second attempt; twice as many before the third.

    Returns:
        Why the webhook did not take the message; None if it did, or if there is no webhook.
    """
    from patchcore.config.settings import read_settings

    secret = read_settings().webhook_url
    address = secret.get_secret_value().strip() if secret else ""
    if not address:
        return None
    failure = _deliver(address, _message(event, text), timeout, pause)
    if failure is None:
        return None
    warning = f"the webhook in {ADDRESS} did not take the message: {failure}"
    sys.stderr.write(f"warning: {warning}\n")
    return warning


def _message(event: Event, text: str) -> bytes:
    summary = {key: event.summary.get(key) for key in _SENT_FIELDS}
    about = {"event": str(event.action), "category": event.category, "who": event.who, "at": event.at}
    return json.dumps({**about, **summary, "record": event.sequence or None, "text": text}).encode()


def _deliver(address: str, message: bytes, timeout: float, pause: float) -> str | None:
    """Return None if the message was taken, otherwise what went wrong the last time."""
    failure, again = _post(address, message, timeout)
    for attempt in range(1, _ATTEMPTS):
        if failure is None or not again:
            break
        time.sleep(pause * attempt)
        failure, again = _post(address, message, timeout)
    return failure


def _post(address: str, message: bytes, timeout: float) -> tuple[str | None, bool]:
    """Return what failed (None if nothing did), and whether another attempt may help."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        return type(error).__name__, False
    if url.scheme not in {"http", "https"} or not url.host:
        return "its address does not begin with http:// or https:// and a host", False
    headers = {"Content-Type": "application/json"}
    try:
        # A redirect is not followed: the POST would become a GET without the message, and the secret would leak.
        with (
            _without_logs(),
            httpx.stream(
                "POST", url, content=message, headers=headers, timeout=timeout, follow_redirects=False
            ) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return _kind(error), isinstance(error, httpx.TransportError | OSError)
    if httpx.codes.is_success(status):
        return None, False
    return f"it answered {status}", status >= 500 or status in {408, 429}


@contextmanager
def _without_logs() -> Iterator[None]:
    """Keep the HTTP library from logging the address."""
    loggers = [logging.getLogger(name) for name in ("httpx", "httpcore")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _kind(error: BaseException) -> str:
    """Return the kind of the error at the root; its text may contain the address or the name of the host."""
    root = error
    while (cause := root.__cause__ or root.__context__) is not None:
        root = cause
    return type(root if isinstance(root, OSError) else error).__name__
