"""What a person sees of images that come in and go out."""

from patchcore.cli.display.terminal import say, show_pairs
from patchcore.lifecycle.intake.results import IngestReport, WithdrawalReport


def ingested(report: IngestReport) -> None:
    """Show what ingest did with new images."""
    for image in report.quarantined:
        say(f"quarantined {image.source}\n    {image.reason}\n    now at {image.path}")
    if report.waiting:
        say(f"left for the next run, still being written: {report.waiting}")
    show_pairs(
        f"{report.category}, data-set version {report.dataset_version}",
        [
            ("taken", len(report.taken)),
            ("in quarantine", len(report.quarantined)),
            ("known already", len(report.known)),
            ("normal images now", report.normals),
        ],
    )


def withdrawn(report: WithdrawalReport) -> None:
    """Show an image that was withdrawn, and the next steps."""
    show_pairs(
        f"{report.category}, data-set version {report.dataset_version}",
        [
            ("withdrawn", report.path),
            ("now at", report.quarantined),
            ("reason", report.reason),
            ("normal images now", report.normals),
        ],
    )
    say(f"the banks that contain it: patchcore audit normal {report.sha256}")
    say(f"a bank without it: patchcore retrain {report.category}")
