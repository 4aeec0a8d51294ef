"""What the layer keeps: operators between calls, memory for the backward pass, dtypes."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oracles import SYSTEMS
from sks4 import _native, ssm
from sks4.nn import S4Layer
from sks4.nn._cache import OperatorCache

H, N = 3, 4
COMPILED = pytest.mark.skipif(not _native.is_available(), reason="no compiled code")


@pytest.fixture
def builds(monkeypatch):
    """Count how often a chunk operator is formed."""
    calls = []

    def counted(build):
        def wrapper(*args, **options):
            calls.append(build.__name__)
            return build(*args, **options)

        return wrapper

    for build in (ssm.dplr_operator, ssm.diagonal_operator, ssm.dplr_kernel, ssm.step_operator):
        monkeypatch.setattr(ssm, build.__name__, counted(build))
    return calls


def make(**options):
    torch.manual_seed(0)
    return S4Layer(H, N, **options).eval()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def output(layer, u, **options):
    with torch.no_grad():
        return layer(u, return_state=False, **options)[0]


EVERY_SYSTEM = pytest.mark.parametrize(("kind", "init"), SYSTEMS)


@pytest.mark.parametrize("options", [{}, {"ssm": "s4d"}, {"algorithm": "convolution"}])
def test_operators_are_formed_once_in_evaluation(builds, options):
    layer, u = make(**options), noise(2, 50, H)
    first = output(layer, u)
    assert len(builds) == 1
    assert torch.equal(output(layer, u), first)
    output(layer, noise(1, 50, H))
    assert len(builds) == 1


def test_step_operator_is_formed_once_in_evaluation(builds):
    layer, state = make(), None
    with torch.no_grad():
        for u in noise(5, 2, H):
            _, state = layer.step(u, state)
    assert builds == ["step_operator"]


def test_operators_are_formed_at_every_call_while_training(builds):
    layer, u = make().train(), noise(2, 50, H)
    for _ in range(3):
        output(layer, u)
    assert len(builds) == 3


def test_layer_chooses_the_algorithm_by_length_while_training(builds, forbid_compiled):
    layer = make().train()
    for length in (20, 1000):
        output(layer, noise(2, length, H))
    layer(noise(2, 20, H))  # wants a state
    assert builds == ["dplr_kernel", "dplr_operator", "dplr_operator"]


def test_operators_of_several_lengths_and_rates_are_kept_beside_each_other(builds):
    layer = make(algorithm="scan")
    calls = [(10, 1.0), (50, 1.0), (50, 0.5), (300, 1.0)]
    for _ in range(2):
        for length, rate in calls:
            output(layer, noise(1, length, H), rate=rate)
    assert len(builds) == len(calls)


def test_operators_in_great_number_are_not_all_kept():
    layer, u = make(), noise(1, 10, H)
    for i in range(100):
        rate = 1 + i / 100
        fresh = copy.deepcopy(layer)  # has kept nothing
        assert torch.equal(output(layer, u, rate=rate), output(fresh, u, rate=rate))
    assert len(layer._cache) <= 16


def test_operators_are_right_in_threads_with_different_rates():
    layer, u = make(), noise(2, 50, H)
    rates = [1 + i / 40 for i in range(40)]  # more than are kept
    expected = {rate: output(copy.deepcopy(layer), u, rate=rate) for rate in rates}

    def run(start):
        for rate in (rates[start:] + rates[:start]) * 3:
            assert torch.equal(output(layer, u, rate=rate), expected[rate])

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(run, 5 * i) for i in range(8)]:
            future.result()


def test_operators_follow_parameters_that_change_while_another_thread_builds():
    cache, inside, changed = OperatorCache(), threading.Event(), threading.Event()

    def build_slowly():
        inside.set()
        assert changed.wait(10)
        return "old"

    with ThreadPoolExecutor(1) as pool:
        old = pool.submit(cache.get, "key", "version 1", build_slowly)
        assert inside.wait(10)
        assert cache.get("key", "version 2", lambda: "new") == "new"
        changed.set()
        assert old.result() == "old"
    assert cache.get("key", "version 2", lambda: "built again") == "new"


def optimizer_step(layer):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()


def load_other(layer):
    torch.manual_seed(5)
    layer.load_state_dict(S4Layer(H, N).state_dict())


@torch.no_grad()
def change_in_place(layer):
    layer.log_dt += 0.1


def assign(layer):
    layer.C = torch.nn.Parameter(layer.C.detach() * 2)


def replace_data(layer):
    layer.B.data = layer.B.data * 2


@pytest.mark.parametrize(
    "change", [optimizer_step, load_other, change_in_place, assign, replace_data]
)
def test_kept_operators_follow_a_change_of_the_parameters(builds, change):
    layer, u = make(), noise(2, 50, H)
    before = output(layer, u)
    change(layer)
    after = output(layer, u)
    assert len(builds) == 2
    assert not torch.allclose(before, after)
    assert torch.equal(after, output(copy.deepcopy(layer), u))


def test_kept_operators_follow_a_change_of_the_dtype():
    layer, u = make(), noise(2, 50, H)
    single = output(layer, u)
    double = output(layer.double(), u.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single, double.float(), rtol=1e-5, atol=1e-5)
    assert not torch.equal(double, single.double())


def test_kept_operators_are_in_no_copy_and_no_pickle():
    layer, u = make(), noise(2, 50, H)
    empty = len(pickle.dumps(layer))
    expected = output(layer, u)
    assert len(pickle.dumps(layer)) == empty
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert len(other._cache) == 0
        assert torch.equal(output(other, u), expected)
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}


def test_operators_kept_in_inference_mode_serve_input_that_requires_gradients(builds):
    layer, u = make().requires_grad_(False), noise(2, 50, H)
    with torch.inference_mode():
        expected = layer(u, return_state=False)[0].clone()
    u.requires_grad_()
    y, _ = layer(u, return_state=False)
    assert len(builds) == 1
    torch.testing.assert_close(y, expected)
    (gradient,) = torch.autograd.grad(y.sum(), u)
    assert gradient.abs().min() > 0


def test_gradients_reach_the_parameters_in_evaluation():
    layer, u = make(), noise(2, 50, H)
    output(layer, u)  # keeps operators, which must not be used now
    y, state = layer(u)
    (y.square().sum() + state.square().sum()).backward()
    assert all(p.grad.abs().max() > 0 for p in layer.parameters())


# -- memory and dtypes


def saved_bytes(layer, u):
    """Return the bytes of the distinct memory that a pass keeps for its backward pass."""
    kept = {}

    def record(x):
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = x, storage.nbytes()  # holding x, so that no address comes twice
        return x

    with torch.autograd.graph.saved_tensors_hooks(record, lambda x: x):
        layer(u, return_state=False)
    return sum(nbytes for _, nbytes in kept.values())


@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_layer_keeps_the_input_and_one_state_a_chunk_for_the_backward_pass(kind):
    layer = S4Layer(2, 64, kind, algorithm="scan")
    small, large = (noise(batch, 1024, 2).requires_grad_() for batch in (64, 96))
    per_input = (saved_bytes(layer, large) - saved_bytes(layer, small)) / (
        large.nbytes - small.nbytes
    )
    # 32 sequences of 8 chunks, and one row more for their segment; 16 numbers keep rows apart
    rows, row = 32 * 8 + 1, 2 * (128 + 64) + 16
    assert per_input == pytest.approx(rows * row / (32 * 1024 * 2))


@COMPILED
@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_recurrence_keeps_the_input_and_one_state_a_block_for_the_backward_pass(kind):
    layer = S4Layer(2, 64, kind, algorithm="recurrence")
    small, large = (noise(batch, 1024, 2).requires_grad_() for batch in (64, 96))
    per_input = (saved_bytes(layer, large) - saved_bytes(layer, small)) / (
        large.nbytes - small.nbytes
    )
    assert per_input == pytest.approx(1 + 64 / 128)


class Recorder(TorchDispatchMode):
    """Collect the dtypes of all tensors that any operation takes or gives."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = (x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor))
        self.dtypes |= {x.dtype for x in tensors}
        return result


@pytest.mark.parametrize("bidirectional", [False, True])
@EVERY_SYSTEM
def test_scan_of_a_layer_meets_no_complex_number(kind, init, bidirectional):
    layer = S4Layer(H, N, kind, init, bidirectional=bidirectional, algorithm="scan")
    u, lengths = noise(2, 300, H).requires_grad_(), torch.tensor([300, 77])
    with Recorder() as recorder:
        layer(u, lengths=lengths)[0].sum().backward()
        if not bidirectional:
            layer.step(u[:, 0])[0].sum().backward()
    assert {torch.float32, torch.float64} <= recorder.dtypes
    assert not any(dtype.is_complex for dtype in recorder.dtypes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@EVERY_SYSTEM
def test_layer_computes_and_returns_gradients_in_its_own_dtype(kind, init, dtype):
    layer, u = S4Layer(H, N, kind, init).to(dtype), noise(2, 50, H).to(dtype).requires_grad_()
    y, state = layer(u)
    assert y.dtype == state.dtype == layer.kernel(8).dtype == dtype
    (y.sum() + state.sum()).backward()
    assert u.grad.dtype == dtype
    used = [p for p in layer.parameters() if p.numel()]  # a diagonal system has no low rank
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in used)


@pytest.mark.parametrize("algorithm", ["scan", "convolution"])
def test_layer_computes_in_single_precision_under_autocast(algorithm):
    layer, u = make(algorithm=algorithm), noise(2, 50, H)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single, half = output(layer, u), output(layer, u.bfloat16())
    assert torch.equal(single, output(layer, u))
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, output(layer, u.bfloat16().float()).bfloat16())


def test_layer_with_half_precision_parameters_computes_in_single_precision():
    layer, u = make().bfloat16(), noise(2, 50, H).bfloat16()
    y, state = layer(u)
    assert y.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    expected, expected_state = layer.float()(u.float())
    assert torch.equal(y, expected.bfloat16())
    assert torch.equal(state, expected_state)


@pytest.mark.gpu
@pytest.mark.parametrize("bidirectional", [False, True])
@EVERY_SYSTEM
def test_layer_on_a_gpu_equals_the_cpu(kind, init, bidirectional):
    torch.manual_seed(0)
    layer = S4Layer(20, N, kind, init, bidirectional=bidirectional).double()
    results = []
    for device in ("cpu", "cuda"):
        there = copy.deepcopy(layer).to(device)
        u = noise(2, 1100, 20).double().to(device).requires_grad_()
        y, state = there(u, lengths=torch.tensor([1100, 130], device=device))
        (y[0].square().sum() + y[1, :130].square().sum()).backward()
        gradients = [p.grad for p in there.parameters()]
        step = () if bidirectional else there.step(u[:, 0], state)
        results.append([z.cpu() for z in (y[0], y[1, :130], *step, u.grad, *gradients)])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@EVERY_SYSTEM
def test_layer_on_a_gpu_is_accurate_in_single_precision(kind, init):
    torch.manual_seed(0)
    layer = S4Layer(4, 64, kind, init).requires_grad_(False)
    layer.D.zero_()
    truth = copy.deepcopy(layer).double().kernel(16384)
    u = torch.zeros(1, 16384, 4, device="cuda")
    u[:, 0] = 1
    y = layer.cuda()(u, return_state=False)[0][0].mT.cpu().double()
    error = (y - truth).abs().amax(1) / truth.abs().amax(1)
    assert error.max() < 2e-5
