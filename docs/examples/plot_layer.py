"""
Inside a layer
==============

A layer of S4 is a bank of small linear systems, one for each feature. This example looks at their kernels,
their eigenvalues, and at what the state of HiPPO remembers of its input.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from sks4 import nn, plot, ssm

# %%
# Kernels: responses to one impulse
# ---------------------------------
#
# The step ``dt`` of a feature sets how long its kernel is: memory is about ``1/dt`` samples.

generator = torch.Generator().manual_seed(0)
layer = nn.S4Layer(64, d_state=32, generator=generator)
plot.kernels(layer, 300)
plt.show()

# %%
# Eigenvalues: decay and frequency of the modes
# ---------------------------------------------
#
# Every conjugate pair of eigenvalues is a mode that decays while it oscillates. Features with long steps
# see fast changes, those with short steps slow ones.

plot.eigenvalues(layer)
plt.show()

# %%
# Memory: the state holds the past
# --------------------------------
#
# HiPPO-LegT keeps the coefficients of Legendre polynomials that approximate a window of the past, which is two
# units of time long. From the 32 numbers of the state, the last second of the input can be drawn again.

N, rate = 32, 500
A, B = ssm.hippo("legt", N)
A_bar, B_bar = ssm.discretize_bilinear(
    A, B, torch.tensor(2 / rate, dtype=A.dtype)
)  # window: 1 s

time = np.arange(0, 3, 1 / rate)
rng = np.random.default_rng(0)
u = np.convolve(rng.normal(size=len(time)), np.hanning(120), mode="same") / 8
x = torch.zeros(N, dtype=A.dtype)
for value in u:
    x = A_bar @ x + B_bar * value

past = np.arange(0, 1, 1 / rate)  # seconds before the end
degree = np.arange(N)
legendre = np.polynomial.legendre.legvander(1 - 2 * past, N - 1)
reconstruction = legendre @ (np.sqrt(2 * degree + 1) * x.numpy())

figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(time, u, color="0.5", label="input")
ax.plot(time[-1] - past, reconstruction, "--", color="#D55E00", label="from the state")
ax.set(xlabel="time (s)", ylabel="u")
ax.legend(loc="upper left")
plt.show()
error = np.abs(reconstruction - u[::-1][: len(past)])[: int(0.9 * rate)].mean()
print(
    f"mean error over the last 0.9 s: {error:.3f}, deviation of the input: {u.std():.3f}"
)
