"""Batches of sequences of different lengths, as in :mod:`sks4.ssm`."""

from sks4.ssm import check_lengths, real_steps

__all__ = ["check_lengths", "real_steps"]
