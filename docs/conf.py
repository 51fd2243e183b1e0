"""The documentation site: Sphinx with MyST Markdown. ``make docs`` builds it; every warning is an error."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import patchcore
from docs.tools.reference import fill  # found by the line above

project = "PatchCore lifecycle"
version = release = patchcore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["tools"]
default_role = "code"
highlight_language = "none"

myst_heading_anchors = 4  # links to headings are checked
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["assets"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False


def setup(app: Any) -> None:
    """Register what fills the reference pages and what escapes docstrings. Sphinx calls this."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _escape)


def _fill(_app: object, _name: str, content: list[str]) -> None:
    content[0] = fill(content[0])


def _escape(_app: object, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    # Docstrings are written for people and Markdown: |x| is a norm here, not a substitution.
    lines[:] = [re.sub(r"\|", r"\\|", line) if "``" not in line and ">>>" not in line else line for line in lines]
