"""The mathematics of S4: pure functions on tensors, in the letters of the papers.

Symbols: ``N`` state size (real variables), ``H`` number of independent systems (features), ``A, B,
C, D`` the continuous system, ``Lambda, P`` its diagonal and low-rank part, ``dt`` the step,
``A_bar, B_bar`` the discrete system, ``K`` the convolution kernel, ``u, x, y`` input, state and
output. Complex tensors hold one of each conjugate pair, ``N/2`` entries.

What is not in ``__all__``, imported here ``as`` itself, is for `sks4.nn` alone.
"""

from ._convolution import fft_conv
from ._discretization import (
    DISCRETIZATIONS,
    DiscreteDPLR,
    discretize_bilinear,
    discretize_diagonal,
    discretize_dplr,
    discretize_zoh,
)
from ._dplr import DIAGONAL_INITS, diagonal, dplr, initial_system, real_form
from ._hippo import MEASURES, check_state_size, hippo
from ._kernels import diagonal_kernel, dplr_kernel
from ._lengths import check_lengths as check_lengths
from ._lengths import real_steps as real_steps
from ._lengths import reverse_sequences as reverse_sequences
from ._operators import (
    CHUNK_LENGTH,
    ChunkOperator,
    dense_operator,
    diagonal_operator,
    dplr_operator,
    economic_chunk,
    fit_chunk,
    wide,
)
from ._recurrence import can_run as can_run
from ._recurrence import recurrence
from ._recurrence import recurrence_pays as recurrence_pays
from ._scan import check_state, chunked_scan, scan
from ._step import StepOperator, step, step_operator

__all__ = [
    "CHUNK_LENGTH",
    "DIAGONAL_INITS",
    "DISCRETIZATIONS",
    "MEASURES",
    "ChunkOperator",
    "DiscreteDPLR",
    "StepOperator",
    "check_state",
    "check_state_size",
    "chunked_scan",
    "dense_operator",
    "diagonal",
    "diagonal_kernel",
    "diagonal_operator",
    "discretize_bilinear",
    "discretize_diagonal",
    "discretize_dplr",
    "discretize_zoh",
    "dplr",
    "dplr_kernel",
    "dplr_operator",
    "economic_chunk",
    "fft_conv",
    "fit_chunk",
    "hippo",
    "initial_system",
    "real_form",
    "recurrence",
    "scan",
    "step",
    "step_operator",
    "wide",
]
