"""Moving the images of old batches from the ledger to archives, which are Parquet files.

The chain keeps a link per image, so an archive can be verified. All other records stay in the ledger; the images are
most of its bytes. `patchcore.lifecycle.archived_images` reads archives.
"""

from datetime import datetime

from patchcore._util.files import new_folder, sha256_of
from patchcore.adapters.ledger.evidence_records import Archive
from patchcore.adapters.ledger.times import utc_text
from patchcore.evidence.export_tables import write_table
from patchcore.lifecycle.archived_images import ARCHIVE_FILE
from patchcore.lifecycle.services import Services, who


def archive(services: Services, before: datetime) -> Archive | None:
    """Move the images of batches that were recorded before a time from the ledger to a file.

    After a crash, the same call completes the work.

    Args:
        services: The opened workspace.
        before: The images of all batches up to the first one recorded at or after this time move.

    Returns:
        The record of the archive; None if there was nothing to move.

    Raises:
        InvalidTime: The time has no time zone.
        Refused: Another command is archiving at the same time.
        Fault: The file cannot be written, or the database account may not delete records.
    """
    services.ledger.checkpoint()  # covers the records that move
    with services.ledger.images_before(utc_text(before)) as found:
        if found is None:
            return None
        first, last, table = found
        name = f"images-{first:012}-{last:012}"
        with new_folder(services.workspace.archives / name) as folder:
            count = write_table(folder / ARCHIVE_FILE, table.columns, table.rows)
    sha256 = sha256_of(services.workspace.archives / name / ARCHIVE_FILE)
    return services.ledger.archive(first, last, count=count, name=name, sha256=sha256, who=who())
