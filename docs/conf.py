"""Sphinx configuration."""

from __future__ import annotations

from bidsapp_brainage import __version__

project = "bidsapp-brainage"
author = "The bidsapp-brainage developers"
project_copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery", "_gallery/*.ipynb", "sg_execution_times.rst"]
# Notebooks and examples are run anew with every build; one that fails ends it.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "_gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "min_reported_time": 1e9,
}
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
