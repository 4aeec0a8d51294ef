"""Spectra of patches against numpy's Fourier transform, and inside a model."""

import numpy as np
import pytest
import torch

from sks4.nn import ModelStepper, PatchSpectrum, S4Backbone, S4Model
from summaries import summary_model

N_INPUTS, PATCH = 2, 32
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def noise(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def tone(frequency, phase=0.0, n_patches=1, patch=PATCH):
    """Return patches (n_patches, patch) of one oscillation, its frequency in turns per sample."""
    t = torch.arange(n_patches * patch, dtype=torch.float64)
    return torch.sin(2 * torch.pi * frequency * t + phase).unflatten(0, (n_patches, patch))


@pytest.mark.parametrize("patch", [4, 7, 32, 100])
def test_powers_are_those_of_the_fourier_transform(patch):
    spectrum = PatchSpectrum(1, patch, dtype=torch.float64)
    u = noise(5, patch)
    t = np.arange(patch)
    window = np.sin(np.pi * (t + 0.5) / patch) ** 2
    window /= np.sqrt((window**2).sum())
    power = np.abs(np.fft.rfft(u.numpy() * window, axis=1)) ** 2
    expected = np.log(1e-3 + power @ spectrum.bands.numpy())
    described = spectrum(u).numpy()
    np.testing.assert_allclose(described[:, 1:], expected, rtol=1e-9)
    np.testing.assert_allclose(described[:, 0], u.mean(1).numpy(), rtol=1e-9)


@pytest.mark.parametrize("patch", [4, 5, 16, 33, 128, 256])
def test_bands_cover_all_frequencies_in_order(patch):
    bands = PatchSpectrum(1, patch, dtype=torch.float64).bands
    assert (bands[1:].sum(1) > 0).all()  # the mean stands for the constant
    torch.testing.assert_close(bands.sum(0), torch.ones_like(bands[0]))
    centers = (torch.arange(len(bands))[:, None] * bands).sum(0)
    assert (centers.diff() > 0).all()


def test_white_noise_of_unit_variance_has_the_power_one_in_every_band():
    spectrum = PatchSpectrum(1, PATCH, dtype=torch.float64)
    power = spectrum(noise(20_000, PATCH))[:, 1:].exp().mean(0) - 1e-3
    torch.testing.assert_close(power[1:-1], torch.ones_like(power[1:-1]), rtol=0.05, atol=0)


def test_phase_is_lost_and_frequency_kept():
    spectrum = PatchSpectrum(1, PATCH, dtype=torch.float64)
    one, other = (spectrum(tone(0.25, phase)) for phase in (0.3, 2.0))
    torch.testing.assert_close(one[:, 1:], other[:, 1:])
    strongest = [int(spectrum(tone(f))[0, 1:].argmax()) for f in (0.06, 0.12, 0.25, 0.4)]
    assert strongest == sorted(set(strongest))


def test_inputs_are_described_one_by_one_in_the_order_of_patches():
    spectrum, single = (PatchSpectrum(n, PATCH, dtype=torch.float64) for n in (N_INPUTS, 1))
    u = noise(3, PATCH, N_INPUTS)
    together = spectrum(u.flatten(1)).unflatten(1, (-1, N_INPUTS))
    for k in range(N_INPUTS):
        torch.testing.assert_close(together[..., k], single(u[..., k]), **TOLERANCE)


def test_fit_centers_and_scales_and_leaves_constants():
    spectrum = PatchSpectrum(1, PATCH, dtype=torch.float64)
    u = noise(50, PATCH)
    u -= u.mean(1, keepdim=True)  # so the mean is nothing but rounding
    spectrum.fit(u)
    described = spectrum(u)
    torch.testing.assert_close(described.mean(0), torch.zeros_like(described[0]))
    deviations = described.std(0, correction=0)
    torch.testing.assert_close(deviations[1:], torch.ones_like(deviations[1:]))
    assert deviations[0] < 1e-10


def test_small_patches_and_symbols_are_refused():
    with pytest.raises(ValueError, match="patch_size must be"):
        PatchSpectrum(1, 3)
    with pytest.raises(ValueError, match="patch_size must be"):
        S4Backbone(5, inputs="symbols", embedding="spectrum")
    with pytest.raises(ValueError, match="embedding must be"):
        S4Backbone(5, embedding="phase")


def make(head="pooled", **options):
    torch.manual_seed(0)
    sizes = {"d_model": 4, "n_layers": 2, "d_state": 4, "patch_size": 8, "embedding": "spectrum"}
    model = S4Model(N_INPUTS, 3, **sizes | options).double().requires_grad_(False)
    model.backbone.spectrum.fit(noise(40, 8 * N_INPUTS, seed=2))
    return (summary_model(model.backbone, n_outputs=3) if head == "summary" else model).eval()


@pytest.mark.parametrize("head", ["pooled", "summary"])
def test_prediction_depends_on_neither_the_batch_nor_the_padding(head):
    model, u, lengths = make(head), noise(4, 60, N_INPUTS), torch.tensor([60, 7, 1, 33])
    outputs = model(u, lengths)
    for row, length in enumerate(lengths.tolist()):
        u[row, length:] = float("nan")
        alone = model(u[row : row + 1, :length])
        torch.testing.assert_close(outputs[row : row + 1], alone, **TOLERANCE)
    torch.testing.assert_close(model(u, lengths), outputs, **TOLERANCE)


@pytest.mark.parametrize("head", ["pooled", "summary"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pieces", [[1] * 30, [7, 90, 1], [700, 5]])  # stepped, and scanned
def test_pushes_of_any_size_equal_one_pass(head, dtype, pieces):
    model = make(head).to(dtype)
    u, seen = noise(2, sum(pieces), N_INPUTS).to(dtype), 0
    stepper, state = ModelStepper(model, 2), None
    tolerance = TOLERANCE if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    for piece in u.split(pieces, 1):
        stepper.push(piece)
        advanced, state = model.advance(piece, state)
        seen += piece.shape[1]
        expected = model(u[:, :seen])
        torch.testing.assert_close(stepper.output(), expected, **tolerance)
        torch.testing.assert_close(advanced, expected, **tolerance)


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="rate must be 1 with patch_size > 1"):
        make()(noise(1, 40, N_INPUTS), rate=0.5)
