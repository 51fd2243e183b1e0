"""List the error handling that no test reaches: python -m tests.support.uncovered COVERAGE.json.

Error handling is each ``raise`` and each statement below an ``except``. A line is listed by file and number, with
the name of the function around it, so that a person can decide whether it needs a test.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path


def main(report: Path) -> None:
    """Print the lines, their number, and the number of all lines."""
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    found, handling = [], 0
    for name, facts in sorted(files.items()):
        missing = set(facts["missing_lines"])
        for function, line in _error_handling(Path(name)):
            handling += 1
            if line in missing:
                found.append(f"{name}:{line} in {function}")
    found.append(f"{len(found)} of {handling} lines of error handling are reached by no test")
    sys.stdout.write("\n".join([*found, ""]))


def _error_handling(file: Path) -> Iterator[tuple[str, int]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield from _below(tree, "module")


def _below(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        name = child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else function
        if isinstance(child, ast.ExceptHandler):
            yield from ((function, each.lineno) for each in child.body if not isinstance(each, ast.Raise))
        if isinstance(child, ast.Raise):
            yield function, child.lineno
        yield from _below(child, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
