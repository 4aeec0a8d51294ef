"""Which steps of a padded batch are real, and their reversal."""

import pytest
import torch

from sks4.ssm import check_lengths, real_steps, reverse_sequences

U = torch.arange(24.0).reshape(3, 4, 2)
LENGTHS = torch.tensor([4, 1, 3])


def test_steps_before_the_length_are_real():
    expected = [[True] * 4, [True] + [False] * 3, [True] * 3 + [False]]
    assert real_steps(U, LENGTHS).tolist() == expected


def test_each_sequence_is_reversed_within_its_length():
    found = reverse_sequences(U, LENGTHS)
    for row, u, n in zip(found, U, LENGTHS, strict=True):
        assert torch.equal(row[:n], u[:n].flip(0))
        assert torch.equal(row[n:], u[n:])
    assert torch.equal(reverse_sequences(found, LENGTHS), U)
    assert torch.equal(reverse_sequences(U, None), U.flip(1))


def test_lengths_that_fit_are_accepted():
    for dtype in (torch.int64, torch.int32, torch.uint8):
        check_lengths(LENGTHS.to(dtype), U)
    check_lengths(torch.empty(0, dtype=torch.long), U[:0])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([4.0, 1.0, 3.0], r"must be integers of shape \(3,\), got torch.float32"),
        ([4, 1], r"must be integers of shape \(3,\), got torch.int64 of shape \(2,\)"),
        ([[4], [1], [3]], r"of shape \(3, 1\)"),
        ([4, 0, 3], "must be between 1 and 4, got values from 0 to 4"),
        ([5, 1, 3], "must be between 1 and 4, got values from 1 to 5"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        check_lengths(torch.tensor(lengths), U)
