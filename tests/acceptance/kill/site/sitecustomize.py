"""Python imports this at its start where PYTHONPATH names this folder: every process of a command counts effects."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import effects  # type: ignore[import-not-found]

effects.install()
sys.path.pop(0)
