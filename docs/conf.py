"""Configuration of the documentation."""

import sks4

project = "sks4"
author = "The sks4 developers"
copyright = "The sks4 developers"
version = release = sks4.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",  # for the change log
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # the docstrings give types, with shapes
numpydoc_show_class_members = False

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
html_title = f"sks4 {release}"
