"""The documentation site: the pages of docs/, with README, CONTRIBUTING and CHANGELOG beside them.

`make docs` builds it into build/docs; `make check` builds it with every warning an error, so that a link or an
anchor that leads nowhere fails. docs/adr/0007-documentation-site.md has the reasons.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

project = "Xception service"
extensions = ["myst_parser"]
myst_heading_anchors = 4
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**"]
exclude_patterns = [".*", "build", "deploy", "engines", "loadtest", "model_store", "service", "tests", "training"]
html_theme = "furo"
html_title = "Xception service"
html_copy_source = False
html_show_copyright = False

SECTIONS = {
    "Guides": ["docs/guides/quick-start", "docs/guides/own-model", "docs/guides/versions", "docs/guides/*"],
    "Reference": ["docs/reference/*"],
    "Explanation": ["docs/explanation/architecture", "docs/explanation/*"],
    "Runbooks": ["docs/runbooks/*"],
    "Benchmarks": ["docs/benchmarks/comparison", "docs/benchmarks/*"],
    "Decisions": ["docs/adr/*"],
    "Project": ["CONTRIBUTING", "CHANGELOG"],
}
"""What the navigation shows, in this order. It is kept out of the pages, which stay plain Markdown."""


def _add_navigation(_: Sphinx, page: str, source: list[str]) -> None:
    """Append the navigation to the front page."""
    if page == root_doc:
        for caption, entries in SECTIONS.items():
            toctree = ["```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *entries, "```"]
            source[0] += "\n" + "\n".join(toctree) + "\n"


def _add_index(app: Sphinx, error: Exception | None) -> None:
    """Copy the front page to index.html, which browsers and web servers look for."""
    front = Path(app.outdir, f"{root_doc}.html")
    if error is None and front.exists():
        shutil.copyfile(front, front.with_name("index.html"))


def setup(app: Sphinx) -> None:
    """Connect the two steps above."""
    app.connect("source-read", _add_navigation)
    app.connect("build-finished", _add_index)
