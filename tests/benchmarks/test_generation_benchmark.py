import argparse

import numpy as np
import pytest
import torch

from benchmarks import bench_generation as bench
from benchmarks._common import read_table

LENGTH = 40


@pytest.fixture
def transformer():
    return bench.transformer(20_000, LENGTH)


def test_cached_steps_of_the_transformer_equal_one_pass(transformer):
    u = torch.randint(256, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    transformer.allocate(3)
    steps = [transformer.step(u[:, t], t) for t in range(LENGTH)]
    # float32 sums in another order
    torch.testing.assert_close(torch.stack(steps, 1), transformer(u), rtol=1e-4, atol=1e-5)


def test_transformer_sees_nothing_that_comes_later(transformer):
    u = torch.zeros(1, LENGTH, dtype=torch.int64)
    other = u.clone()
    other[0, 10] = 1
    changed = (transformer(u) != transformer(other)).any(-1)[0]
    assert changed.nonzero()[0] == 10


@pytest.mark.parametrize("d_model", [64, 256])
def test_both_models_are_of_the_same_size(d_model):
    size = bench.n_parameters(bench.s4_model(d_model))
    assert 0.8 < bench.n_parameters(bench.transformer(size, 9)) / size < 1.25


def test_speed_case_reports_rates_of_both():
    row = bench.speed_case(16, batch=2, context=32, repeats=1)
    assert row["ratio"] == pytest.approx(row["s4_per_second"] / row["transformer_per_second"])


def test_held_out_documents_are_not_trained_on():
    train, test = bench.text_split()
    parts = [{part for text in texts for part in text.split(b"\n\n")} for texts in (train, test)]
    assert parts[0] & parts[1] == set()
    assert sum(map(len, train)) > 300_000
    assert {len(piece) for piece in bench.pieces(train, 512)} == {512}


def test_compressors_need_few_bits_for_what_they_have_read():
    text = [bytes(np.random.default_rng(0).integers(256, size=3000, dtype=np.uint8))]
    bits = bench.compressed_bits(text, text)
    assert bits["lzma"] < 1
    assert bench.compressed_bits([b"a" * 3000], text)["zlib"] > 7.5


def test_independent_bits_are_those_of_the_frequencies():
    train = np.array([[0, 1]] * 998)
    assert bench.independent_bits(train, train, 2) == pytest.approx(-np.log2(0.999))


def test_smaller_images_are_means_of_blocks():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 2:4, 0:2] = 100
    image[0, 2, 0] = 200
    small = bench._reduced(image, 14)
    assert small.shape == (1, 14, 14)
    assert (small[0, 1, 0], small.sum()) == (125, 125)
    assert bench._reduced(image, 9).shape == (1, 9, 9)  # blocks of 3, without a border


def test_images_are_scored_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    options = {"data": "digits", "width": 4, "max_epochs": 1, "max_time": None}
    options |= {"n_train": 20, "n_test": 12, "picture": tmp_path / "digits.png"}
    bench.run_images(argparse.Namespace(**options))
    assert (tmp_path / "digits.png").stat().st_size > 0
    (row,) = read_table(tmp_path / "generation_images.csv")
    assert 0 < float(row["bits_per_dim"]) < 6
