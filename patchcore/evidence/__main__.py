"""``python -m patchcore.evidence EXPORT``: verify an export without a ledger and without the rest of the library."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from patchcore.errors import PatchcoreError
from patchcore.evidence.anchors import read_anchors
from patchcore.evidence.export_verification import verify_export
from patchcore.evidence.signing import trusted_keys

_EPILOG = """example: python -m patchcore.evidence export-2026-01 --anchor anchors.jsonl
exit codes: 0 no problem was found, 2 wrong usage, 3 a problem was found or the folder is not an export"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify an export, print the result as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m patchcore.evidence",
        description="Verify the export of a ledger or of a batch from its files alone. Prints one JSON object.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("export", type=Path, help="the folder that patchcore audit export wrote")
    parser.add_argument("--anchor", type=Path, action="append", default=[], help="a file or folder with anchors")
    parser.add_argument("--trusted-keys", help="public keys: hexadecimal digits or PEM files, separated by commas")
    parser.add_argument("--without-archives", action="store_true", help="accept images that are in archives elsewhere")
    options = parser.parse_args(arguments)
    try:
        known = [anchor for path in options.anchor for anchor in read_anchors(path).anchors]
        trusted = trusted_keys(options.trusted_keys) if options.trusted_keys else frozenset[str]()
        found = verify_export(options.export, known, trusted, without_archives=options.without_archives)
    except PatchcoreError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(json.dumps(asdict(found), ensure_ascii=True))  # noqa: T201
    return 0 if found.ok else 3


if __name__ == "__main__":
    sys.exit(main())
