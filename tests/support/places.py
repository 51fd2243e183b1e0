"""Where the repository's own files are, for tests at any depth."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PARAMS_FILE = REPOSITORY / "params.yaml"
DATA = REPOSITORY / "tests" / "data"
