"""HiPPO matrices against the formulas of the papers and against what they mean."""

import math

import numpy as np
import pytest
import torch

from sks4 import ssm

SIZES = [2, 4, 16]


def legs_formula(N):
    """HiPPO (arXiv:2008.07669), theorem 2."""
    A, B = torch.zeros(N, N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for n in range(N):
        B[n] = math.sqrt(2 * n + 1)
        for k in range(n + 1):
            A[n, k] = -(n + 1) if n == k else -math.sqrt(2 * n + 1) * math.sqrt(2 * k + 1)
    return A, B


def legt_formula(N, window=2):
    """HiPPO, theorem 1 with lambda_n = sqrt(2n + 1)."""
    A, B = torch.zeros(N, N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for n in range(N):
        B[n] = math.sqrt(2 * n + 1) / window
        for k in range(N):
            sign = 1 if k <= n else (-1) ** (n - k)
            A[n, k] = -math.sqrt((2 * n + 1) * (2 * k + 1)) * sign / window
    return A, B


def fout_formula(N, window=2):
    """How to Train Your HiPPO (arXiv:2206.12037), section 3.3, for a window of this length."""
    A, B = torch.zeros(N, N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for n in range(0, N, 2):
        B[n] = (1 if n == 0 else math.sqrt(2)) * math.sqrt(2 / window)
    for n in range(N):
        for k in range(N):
            A[n, k] = -B[n] * B[k]
            if n % 2 == 0 and k == n + 1:
                A[n, k] -= 2 * math.pi * (n // 2) / window
            if n % 2 == 1 and k == n - 1:
                A[n, k] += 2 * math.pi * (n // 2) / window
    return A, B


FORMULAS = {"legs": legs_formula, "legt": legt_formula, "fout": fout_formula}


@pytest.mark.parametrize("N", SIZES)
@pytest.mark.parametrize("measure", FORMULAS)
def test_hippo_matches_the_formula_of_the_paper(measure, N):
    for got, formula in zip(ssm.hippo(measure, N), FORMULAS[measure](N), strict=True):
        assert got.dtype == torch.float64
        torch.testing.assert_close(got, formula, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("measure", FORMULAS)
def test_hippo_state_of_a_constant_input_is_the_constant_function(measure):
    A, B = ssm.hippo(measure, 8)
    constant = torch.eye(8, dtype=torch.float64)[0]
    torch.testing.assert_close(A @ constant + B, torch.zeros_like(B), rtol=0, atol=1e-14)


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_legt_state_holds_the_legendre_coefficients_of_the_last_window(degree):
    N, window = 8, 2
    A, B = (z.numpy() for z in ssm.hippo("legt", N))
    # For u(t) = t^d, x(t) = sum_k X_k t^k solves x' = A x + B u: (k + 1) X_(k+1) = A X_k + B u_k.
    following = np.zeros(N)
    for k in range(degree, -1, -1):
        following = np.linalg.solve(A, (k + 1) * following - B * (k == degree))
    # x(0) = X_0 must be the coefficients of u on [-window, 0].
    nodes, weights = np.polynomial.legendre.leggauss(2 * N)
    basis = np.polynomial.legendre.legvander(nodes, N - 1) * np.sqrt(2 * np.arange(N) + 1)
    history = (window * (nodes - 1) / 2) ** degree
    np.testing.assert_allclose(following, (weights * history) @ basis / 2, atol=1e-12)


def test_hippo_suggests_the_nearest_name_when_the_measure_is_unknown():
    with pytest.raises(ValueError, match=r"measure must be one of .*Did you mean 'fout'\?"):
        ssm.hippo("fuot", 4)


@pytest.mark.parametrize("function", [ssm.hippo, ssm.dplr, ssm.diagonal])
def test_state_size_must_be_even(function):
    with pytest.raises(ValueError, match="N must be even, because states form conjugate pairs"):
        function("legs", 5)


@pytest.mark.parametrize("function", [ssm.hippo, ssm.dplr, ssm.diagonal])
@pytest.mark.parametrize(("N", "error"), [(0, ValueError), (-2, ValueError), (4.0, TypeError)])
def test_state_size_must_be_a_positive_integer(function, N, error):
    with pytest.raises(error, match="N must be"):
        function("legs", N)
