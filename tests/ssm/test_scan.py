"""The chunked scan against the recurrence, in outputs, states, gradients and memory."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from sks4 import ssm

H, N = 2, 4
# float64 sums of some hundred terms near one
TOLERANCE = 1e-12


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def parameters(kind, H=H, N=N):
    """Return the leaves of a system: a dense increment, or the parts of a structured one."""
    B_bar, C, D = draw(H, N, seed=1), draw(H, N, seed=2), draw(H, seed=3)
    if kind == "dense":
        A_bar = draw(H, N, N)
        A_bar = 0.95 * A_bar / torch.linalg.matrix_norm(A_bar, 2)[:, None, None]
        return [A_bar - torch.eye(N), B_bar, C, D]
    angle = 3 * draw(H, N // 2)  # modulus 0.9
    if kind == "dplr":
        q, r = 0.1 * draw(H, N, seed=4), draw(H, N, seed=5)
        return [0.8 * torch.cos(angle), 0.8 * torch.sin(angle), q, r, B_bar, C, D]
    return [0.9 * torch.cos(angle) - 1, 0.9 * torch.sin(angle), B_bar, C, D]


def operator(kind, leaves, b, **options):
    if kind == "dense":
        return ssm.dense_operator(*leaves, b, **options)
    re, im, *vectors = leaves
    if kind == "dplr":
        return ssm.dplr_operator((re, im), *vectors, b, **options)
    return ssm.diagonal_operator((re, im), *vectors, b, **options)


def dense_system(kind, leaves):
    """Return the same system as ``A_bar, B_bar, C, D``."""
    if kind == "dense":
        E, *vectors = leaves
        return E + torch.eye(E.shape[-1]), *vectors
    if kind == "dplr":
        re, im, q, r, *vectors = leaves
        low_rank = q[..., None] * r[:, None]
    else:
        re, im, *vectors = leaves
        re, low_rank = re + 1, 0.0
    rows = [
        torch.cat([torch.diag_embed(x), torch.diag_embed(y)], -1) for x, y in ((re, -im), (im, re))
    ]
    return torch.cat(rows, -2) - low_rank, *vectors


def stepped(kind, leaves, u, state, lengths=None):
    """Return outputs and final states by the recurrence, one sequence at a time."""
    A_bar, B_bar, C, D = dense_system(kind, leaves)
    lengths = [u.shape[1]] * len(u) if lengths is None else lengths
    outputs, states = [], []
    for row, x, length in zip(u, state, lengths, strict=True):
        y, x = oracles.recurrence(row[None, :length].mT, A_bar, B_bar, C, x[None])
        outputs.append(y[0].mT + D * row[:length])
        states.append(x[0])
    return outputs, torch.stack(states)


def check_against_recurrence(kind, leaves, u, state, b, lengths=None):
    y, last = ssm.scan(u, operator(kind, leaves, b), state=state, lengths=lengths)
    truth, last_truth = stepped(kind, leaves, u, state, lengths)
    for got, expected in zip(y, truth, strict=True):
        torch.testing.assert_close(got[: len(expected)], expected, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(last, last_truth, rtol=TOLERANCE, atol=TOLERANCE)


KINDS = pytest.mark.parametrize("kind", ["dense", "dplr", "diagonal"])
# One and two sequences combine chunks by pairs, four visit them in order. With 8 samples a chunk,
# the lengths are less than a chunk, whole chunks, and even, odd and many chunks with a rest.
BATCHES = pytest.mark.parametrize("batch", [1, 2, 4])
LENGTHS = pytest.mark.parametrize("length", [1, 3, 8, 16, 63, 64, 65, 150, 8 * 67 + 5])


@KINDS
@BATCHES
@LENGTHS
def test_scan_equals_the_recurrence(kind, batch, length):
    state = draw(batch, H, N, seed=5)
    check_against_recurrence(kind, parameters(kind), draw(batch, length, H), state, 8)


@KINDS
@pytest.mark.parametrize("b", [1, 2, 16, 32, 128])
def test_scan_equals_the_recurrence_for_every_chunk_length(kind, b):
    for length in (1, 37, 300):
        state = draw(3, H, N, seed=5)
        check_against_recurrence(kind, parameters(kind), draw(3, length, H), state, b)


@KINDS
@BATCHES
def test_scan_returns_the_state_after_each_sequence_s_own_end(kind, batch):
    for first in range(1, 41, batch):  # all rests of a chunk, and whole chunks
        lengths = torch.arange(first, first + batch)
        u = draw(batch, 44, H)
        check_against_recurrence(kind, parameters(kind), u, draw(batch, H, N, seed=5), 8, lengths)


@KINDS
def test_scan_takes_more_features_than_are_computed_together(kind):
    leaves = parameters(kind, H=35, N=2)
    check_against_recurrence(kind, leaves, draw(2, 30, 35), draw(2, 35, 2, seed=5), 8)


@KINDS
def test_scan_ignores_what_pads_a_sequence(kind):
    u, lengths = draw(3, 30, H), torch.tensor([30, 16, 3])
    chunks = operator(kind, parameters(kind), 8)
    y, state = ssm.scan(u, chunks, lengths=lengths)
    padded = u.clone()
    for row, length in zip(padded, lengths, strict=True):
        row[length:] = 1e6
    other_y, other_state = ssm.scan(padded, chunks, lengths=lengths)
    assert torch.equal(state, other_state)
    for row, other, length in zip(y, other_y, lengths, strict=True):
        assert torch.equal(row[:length], other[:length])


def test_scan_without_a_state_wanted_returns_the_same_output():
    u, chunks = draw(2, 30, H), operator("dense", parameters("dense"), 8)
    y, state = ssm.scan(u, chunks, return_state=False)
    assert state is None
    assert torch.equal(y, ssm.scan(u, chunks)[0])


@KINDS
def test_operator_without_powers_is_the_same_for_outputs(kind):
    leaves = parameters(kind)
    bare = operator(kind, leaves, 8, with_powers=False)
    assert bare.powers == ()
    assert torch.equal(bare.matrix, operator(kind, leaves, 8).matrix)


# -- gradients


@KINDS
@pytest.mark.parametrize(
    ("batch", "length", "b", "lengths"),
    [
        (1, 1, 8, None),
        (1, 5, 1, None),
        (2, 7, 2, None),
        (1, 74, 2, None),  # 37 chunks by pairs, odd at two levels
        (4, 11, 4, None),  # in order
        (2, 16, 8, None),
        (3, 16, 4, [16, 8, 3]),
        (4, 9, 4, [1, 4, 6, 9]),
    ],
)
def test_scan_gradient_matches_finite_differences(kind, batch, length, b, lengths):
    operands = [*parameters(kind, H=1, N=2), draw(batch, length, 1), draw(batch, 1, 2, seed=5)]
    lengths = None if lengths is None else torch.tensor(lengths)

    def run(*operands):
        *leaves, u, state = operands
        return ssm.scan(u, operator(kind, leaves, b), state=state, lengths=lengths)

    assert torch.autograd.gradcheck(
        run, [z.requires_grad_() for z in operands], fast_mode=length > 20
    )


@KINDS
@pytest.mark.parametrize("batch", [1, 4])
def test_scan_gradient_equals_that_of_the_recurrence(kind, batch):
    operands = [*parameters(kind), draw(batch, 61, H), draw(batch, H, N, seed=5)]
    for z in operands:
        z.requires_grad_()
    *leaves, u, state = operands
    weights = draw(batch, 61, H, seed=6), draw(batch, H, N, seed=7)
    gradients = []
    outputs, last = stepped(kind, leaves, u, state)
    for results in (
        (torch.stack(outputs), last),
        ssm.scan(u, operator(kind, leaves, 8), state=state),
    ):
        loss = sum((w * result).sum() for w, result in zip(weights, results, strict=True))
        gradients.append(torch.autograd.grad(loss, operands))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("use", [0, 1])
def test_scan_gradient_is_right_when_only_one_result_is_used(use):
    leaves, u = parameters("dense", H=1, N=2), draw(2, 11, 1)

    def run(*operands):
        return ssm.scan(operands[-1], ssm.dense_operator(*operands[:-1], 4))[use]

    assert torch.autograd.gradcheck(run, [z.requires_grad_() for z in (*leaves, u)])


@KINDS
def test_scan_keeps_the_input_and_the_chunk_states_for_the_backward_pass(kind):
    leaves = [z.requires_grad_() for z in parameters(kind)]
    u = draw(2, 8 * 64, H).requires_grad_()
    chunks = operator(kind, leaves, 64)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        ssm.scan(u, chunks, return_state=False)
    elements = sum(x.untyped_storage().nbytes() for x in saved) / u.element_size()
    row = H * (64 + N) + 16  # a chunk, and what keeps rows apart
    assert elements <= (2 * 8 + 1) * row + chunks.matrix.numel()


# -- the public form


@given(pieces=st.lists(st.integers(1, 40), min_size=1, max_size=6), b=st.sampled_from([1, 4, 16]))
def test_chunked_scan_of_pieces_of_any_size_equals_one_pass(pieces, b):
    A_bar, B_bar, C, _ = dense_system("dense", parameters("dense"))
    u = draw(2, H, sum(pieces))
    whole, last = ssm.chunked_scan(u, A_bar, B_bar, C, chunk_length=b)
    outputs, state = [], None
    for piece in u.split(pieces, -1):
        y, state = ssm.chunked_scan(piece, A_bar, B_bar, C, state=state, chunk_length=b)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, -1), whole, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(state, last, rtol=TOLERANCE, atol=TOLERANCE)


def test_chunked_scan_equals_the_recurrence():
    A_bar, B_bar, C, _ = dense_system("dense", parameters("dense"))
    u = draw(2, H, 300)
    got = ssm.chunked_scan(u, A_bar, B_bar, C)
    torch.testing.assert_close(got, oracles.recurrence(u, A_bar, B_bar, C))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("u", torch.zeros(2, H, 0), r"u must have shape \(batch, H, length\) and at least one"),
        ("u", torch.zeros(2, 9), r"u must have shape \(batch, H, length\) .*got \(2, 9\)"),
        ("A_bar", torch.zeros(H, N, N + 1), r"A_bar must have shape \(2, N, N\), got \(2, 4, 5\)"),
        ("A_bar", torch.zeros(N, N), r"A_bar must have shape \(2, N, N\), got \(4, 4\)"),
        ("B_bar", torch.zeros(H, N + 1), r"B_bar must have shape \(2, 4\), got \(2, 5\)"),
        ("C", torch.zeros(N), r"C must have shape \(2, 4\), got \(4,\)"),
        ("state", torch.zeros(3, H, N), r"state must have shape \(batch, H, N\) = \(2, 2, 4\)"),
        ("chunk_length", 0, "chunk_length must be a power of two, got 0"),
        ("chunk_length", 48, "chunk_length must be a power of two, got 48"),
    ],
)
def test_chunked_scan_refuses_operands_that_do_not_fit(name, value, message):
    operands = {"u": torch.zeros(2, H, 9), "A_bar": torch.zeros(H, N, N)}
    operands |= {"B_bar": torch.zeros(H, N), "C": torch.zeros(H, N), name: value}
    with pytest.raises(ValueError, match=message):
        ssm.chunked_scan(**operands)


@pytest.mark.parametrize(
    ("length", "b"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (100_000, 128)]
)
def test_fit_chunk_is_no_longer_than_needed(length, b):
    assert ssm.fit_chunk(length) == b


def test_scan_refuses_to_stop_inside_a_chunk_when_the_operator_has_no_powers():
    bare = ssm.dense_operator(*parameters("dense"), 8, with_powers=False)
    _, state = ssm.scan(draw(2, 16, H), bare)  # whole chunks need none
    assert state.shape == (2, H, N)
    with pytest.raises(ValueError, match="with_powers"):
        ssm.scan(draw(2, 17, H), bare)
