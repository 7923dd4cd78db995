"""Sphinx configuration."""

from __future__ import annotations

from bidsapp_brainage import __version__

project = "bidsapp-brainage"
author = "The bidsapp-brainage developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# "shape" in the types of docstrings is a word, not one of the properties of that name
suppress_warnings = ["myst.xref_missing", "ref.python"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False

html_theme = "alabaster"
html_theme_options = {
    "description": "Brain age with region-level explanations, as a BIDS App",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "230px",
}
html_show_sphinx = False
# Everything is readable offline.
html_static_path: list[str] = []
