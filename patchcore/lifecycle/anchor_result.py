"""What a command reports about the anchor that it wrote after it changed the ledger."""

from patchcore._util.model import Model


class AnchorResult(Model):
    """The state of the ledger that was written to places outside the ledger.

    Attributes:
        size: The number of records.
        head: The hash of the last record.
        places: The places that have the anchor now.
        failures: The places that could not be written, each with the reason.
    """

    size: int
    head: str
    places: tuple[str, ...]
    failures: tuple[str, ...]
