"""Configuration of the documentation."""

import doctest
import sys
import warnings
from pathlib import Path

import sks4

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "sks4"
author = "The sks4 developers"
copyright = "The sks4 developers"
version = release = sks4.__version__

extensions = [
    "benchmark_table",  # in _ext
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",  # for the change log
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "examples", "inventories"]
templates_path = ["_templates"]

autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # the docstrings give types, with shapes
numpydoc_show_class_members = False

# Inventories are files of this repository, so that a build needs no network.
intersphinx_mapping = {
    name: (url, f"inventories/{name}.inv")
    for name, url in {
        "matplotlib": "https://matplotlib.org/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "scikit-learn": "https://scikit-learn.org/stable/",
        "scipy": "https://docs.scipy.org/doc/scipy/reference/",
        "torch": "https://docs.pytorch.org/docs/stable/",
    }.items()
}

warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "ExampleTitleSortKey",
    "doc_module": ("sks4",),
    "reference_url": {"sks4": None},
    "backreferences_dir": "gallery/backreferences",
    "remove_config_comments": True,
    "show_signature": False,
    "download_all_examples": False,
    "thumbnail_size": (360, 240),
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# As for the docstrings in pyproject.toml, with the defaults of Sphinx.
doctest_default_flags = (
    doctest.ELLIPSIS
    | doctest.NORMALIZE_WHITESPACE
    | doctest.IGNORE_EXCEPTION_DETAIL
    | doctest.DONT_ACCEPT_TRUE_FOR_1
)

# Every example starts from the same generator and with these names.
doctest_global_setup = """
import numpy as np
import torch
from sks4 import nn, ssm
torch.manual_seed(0)
"""

plot_formats = [("png", 144)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"savefig.bbox": None}
plot_apply_rcparams = True

html_theme = "furo"
small_code = {"code-font-size": "0.8125rem"}  # 88 characters fit the column at 1280 pixels
html_theme_options = {"light_css_variables": small_code, "dark_css_variables": small_code}
html_title = f"sks4 {release}"
html_static_path = ["_static"]
html_css_files = ["sks4.css"]
