"""Errors in the JSON of commands."""

from collections.abc import Mapping


def line_of(error: Mapping[str, str]) -> str:
    """Return the line that the command prints for the error in its JSON."""
    assert set(error) == {"code", "message", "got", "expected", "remedy"}
    return f"{error['message']}: got {error['got']}, expected {error['expected']}; {error['remedy']}"
