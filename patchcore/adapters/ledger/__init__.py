"""The ledger: an append-only record of data-set versions, banks, promotions, batches and their images.

It is kept in SQLite or PostgreSQL. A record that a method returns is stored on disk. Each record holds the hash of the
record before it, so `Ledger.verify` detects records that were changed, removed or inserted.
"""

from patchcore.adapters.ledger.batches import Batches
from patchcore.adapters.ledger.comparisons import Comparisons
from patchcore.adapters.ledger.database import REVISION, Database
from patchcore.adapters.ledger.datasets import Datasets
from patchcore.adapters.ledger.events import Events
from patchcore.adapters.ledger.exports import Exports
from patchcore.adapters.ledger.promotions import Promotions
from patchcore.adapters.ledger.verify import Verifications
from patchcore.config.workspace import Workspace
from patchcore.evidence.signing import Signer, read_signer


def open_ledger(workspace: Workspace) -> "Ledger":
    """Return the ledger at PATCHCORE_LEDGER_URL (an SQLAlchemy URL), or else the workspace's own.

    Raises:
        Refused: the URL is not one, or of a database that is not supported; or PATCHCORE_SIGNING_KEY names no key.
        Fault: the database cannot be opened.
    """
    from patchcore.config.settings import read_settings

    key = read_settings().signing_key
    return Ledger(ledger_url(workspace), signer=None if key is None else read_signer(key))


def ledger_url(workspace: Workspace) -> str:
    """Return the SQLAlchemy URL of the ledger."""
    from patchcore.config.settings import read_settings

    return read_settings().ledger_url or f"sqlite:///{workspace.ledger}"


def migrate(url: str, wait: float = 30.0) -> str:
    """Bring the ledger's tables to the revision of this version, and return it; create them if there are none.

    Raises:
        Refused: the URL is not one, is of a database that is not supported, or was written by a later version.
        Fault: the database cannot be written.
    """
    Database.upgraded(url, wait)
    return REVISION


def revision(workspace: Workspace, wait: float = 30.0) -> str | None:
    """Return the revision that the ledger's tables carry; None if there is no ledger yet; none is created.

    Raises:
        Refused: The URL is not one, or is of a database that is not supported.
        Fault: The database does not answer.
    """
    url = ledger_url(workspace)
    if url == f"sqlite:///{workspace.ledger}" and not workspace.ledger.is_file():
        return None
    return Database.revision_at(url, wait)


class Ledger(Datasets, Promotions, Batches, Comparisons, Events, Exports, Verifications):
    """A ledger in one database; its tables are created if there are none.

    Args:
        url: An SQLAlchemy URL of a SQLite file or of a PostgreSQL database.
        wait: Seconds to wait while another process writes.
        signer: Signs checkpoints.

    Raises:
        Refused: the URL is not one, is of a database that is not supported, or was written by another version.
        Fault: the database cannot be opened.
    """

    def __init__(self, url: str, wait: float = 30.0, signer: Signer | None = None) -> None:
        super().__init__(Database(url, wait, signer))

    def check(self) -> None:
        """Check, before any work, that records can be written.

        Raises:
            LedgerUnavailable: They cannot.
        """
        self._database.check()
