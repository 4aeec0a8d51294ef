"""The version of sks4, stated once."""

__version__ = "0.2.0.dev0"
