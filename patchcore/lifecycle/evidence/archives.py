"""Images that moved out of the ledger: into files that the chain goes on to vouch for, and back to who asks for them.

Batches, promotions and all else stay in the ledger for good; their images are most of its bytes.
"""

from datetime import datetime

from patchcore._util.files import new_folder, sha256_of
from patchcore.adapters.ledger.evidence_records import Archive
from patchcore.adapters.ledger.times import utc_text
from patchcore.evidence.export_tables import write_table
from patchcore.lifecycle.archived_images import ARCHIVE_FILE
from patchcore.lifecycle.services import Services, who


def archive(services: Services, before: datetime) -> Archive | None:
    """Move the images of batches that were recorded before a time out of the ledger, into a file.

    After a crash the same call does what was left undone.

    Args:
        services: The opened workspace.
        before: The first batch that was recorded then or later stays, and all after it.

    Returns:
        What was archived; None where there was nothing.

    Raises:
        UsageError: The time has no time zone.
        Refused: Somebody else archives at the same moment.
        Fault: The file cannot be written, or this account may not remove anything from the ledger.
    """
    services.ledger.checkpoint()  # names what moves
    with services.ledger.images_before(utc_text(before)) as found:
        if found is None:
            return None
        first, last, table = found
        name = f"images-{first:012}-{last:012}"
        with new_folder(services.workspace.archives / name) as folder:
            count = write_table(folder / ARCHIVE_FILE, table.columns, table.rows)
    sha256 = sha256_of(services.workspace.archives / name / ARCHIVE_FILE)
    return services.ledger.archive(first, last, count=count, name=name, sha256=sha256, who=who())
