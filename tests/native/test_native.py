"""Loading the compiled module, its threads and its care for the state of the processor."""

import os
import subprocess
import sys
import threading

import pytest
import torch

import sks4
from sks4 import _native, ssm

COMPILED = pytest.mark.skipif(not _native.is_available(), reason="no compiled code")

OPERATOR = """
import os, torch
from sks4 import _native, ssm
torch.manual_seed(0)
H, N = 64, 16
def run(batch=8, length=500):
    e = -0.5 * torch.ones(H, N // 2), 0.5 * torch.rand(H, N // 2)
    vectors = [torch.randn(H, N) for _ in range(2)]
    none = torch.zeros(H, 0, N)
    operator = ssm.StepOperator(e, none, none, *vectors, torch.zeros(H))
    return ssm.recurrence(torch.randn(batch, length, H), operator)[0]
"""


def in_new_process(code, **environment):
    """Return what a new interpreter prints."""
    command = [sys.executable, "-c", OPERATOR + code]
    result = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_variable_turns_compiled_code_off():
    printed = in_new_process(
        "run(); print(_native.N_CALLS['forward'], _native.status())", SKS4_NATIVE="0"
    )
    assert printed == "0 torch: turned off by SKS4_NATIVE=0"


@COMPILED
def test_variable_requires_compiled_code():
    printed = in_new_process("run(); print(_native.N_CALLS['forward'])", SKS4_NATIVE="require")
    assert printed == "1"


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("require", "required by SKS4_NATIVE, but not compiled"),
        ("yes", "SKS4_NATIVE must be 0, 1 or require, got 'yes'"),
    ],
)
def test_import_raises_where_the_variable_cannot_be_followed(variable, message):
    code = (
        "import sys; sys.modules['sks4._native._core'] = None\n"  # as if there were none
        "try:\n    import sks4\nexcept ImportError as error:\n    print(error)\n"
    )
    environment = os.environ | {"SKS4_NATIVE": variable}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert message in result.stdout


def test_package_works_where_the_module_cannot_be_loaded():
    code = (
        "import sys; sys.modules['sks4._native._core'] = None\n"
        "from sks4 import _native, nn\nimport torch\n"
        "print(nn.S4Layer(2, 4)(torch.zeros(1, 9, 2))[0].shape, _native.status())"
    )
    environment = os.environ | {"SKS4_NATIVE": "1"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout.startswith("torch.Size([1, 9, 2]) torch: not compiled")
    assert result.stderr == ""


@COMPILED
def test_module_of_other_sources_is_not_used(monkeypatch):
    monkeypatch.setattr(_native, "_source_hash", lambda: "0" * 16)
    module, reason = _native._load("1")
    assert module is None
    assert "compiled from other sources" in reason


@COMPILED
def test_module_is_compiled_from_the_sources_of_the_package():
    assert _native._source_hash() == _native._core.SOURCE_HASH


def test_show_versions_says_which_code_computes(capsys, monkeypatch):
    sks4.show_versions()
    assert f"compiled recurrence: {_native.status()}" in capsys.readouterr().out
    monkeypatch.setattr(_native, "_core", None)
    monkeypatch.setattr(_native, "_reason", "turned off for a test")
    sks4.show_versions()
    printed = capsys.readouterr().out
    assert "compiled recurrence: torch: turned off for a test" in printed
    assert f"torch: {torch.__version__}" in printed


@COMPILED
def test_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match="have no 'avx1024'"):
        _native.use_instruction_set("avx1024")


# -- threads


@COMPILED
@pytest.mark.parametrize(("threads", "started"), [(1, 0), (2, 1), (3, 2)])
def test_pool_has_as_many_threads_as_torch(threads, started):
    code = f"torch.set_num_threads({threads}); run(); run(); print(_native.started_threads())"
    assert in_new_process(code) == str(started)


@COMPILED
def test_little_work_wakes_no_thread():
    code = "torch.set_num_threads(4); run(1, 50); print(_native.started_threads())"
    assert in_new_process(code) == "0"


@COMPILED
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_forked_process_has_threads_of_its_own():
    code = """
torch.set_num_threads(2)
torch.manual_seed(1); expected = run()
child = os.fork()
if child == 0:
    before = _native.started_threads()
    torch.manual_seed(1); same = torch.equal(run(), expected)
    os._exit(0 if (before, same, _native.started_threads()) == (0, True, 1) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), _native.started_threads())
"""
    assert in_new_process(code) == "0 1"


@COMPILED
def test_calls_from_many_threads_at_once_are_right():
    torch.manual_seed(0)
    H, N = 40, 16
    e = -0.5 * torch.ones(H, N // 2), 0.5 * torch.rand(H, N // 2)
    none = torch.zeros(H, 0, N)
    operator = ssm.StepOperator(e, none, none, torch.randn(H, N), torch.randn(H, N), torch.zeros(H))
    inputs = [torch.randn(4, 400, H) for _ in range(8)]
    expected = [ssm.recurrence(u, operator)[0] for u in inputs]
    found = [None] * 8

    def run(i):
        torch.set_num_threads(2)
        for _ in range(5):
            found[i] = ssm.recurrence(inputs[i], operator)[0]

    before = torch.get_num_threads()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@COMPILED
def test_worker_processes_of_joblib_have_no_more_threads_than_torch_gives_them():
    code = """
import joblib
def work():
    run()
    return torch.get_num_threads(), _native.started_threads()
for n_threads, started in joblib.Parallel(n_jobs=2)(joblib.delayed(work)() for _ in range(2)):
    assert started == n_threads - 1, (n_threads, started)
print("right")
"""
    assert in_new_process(code) == "right"


# -- the state of the processor


@COMPILED
@pytest.mark.parametrize("flush", [False, True])
def test_treatment_of_subnormal_numbers_is_as_before_after_a_call(flush):
    tiny = torch.tensor([torch.finfo(torch.float32).tiny])
    none, zero, one = torch.zeros(1, 0, 2), torch.zeros(1, 1), torch.ones(1, 2)
    operator = ssm.StepOperator((zero - 0.5, zero), none, none, one, one, torch.zeros(1))
    if not torch.set_flush_denormal(flush):
        pytest.skip("this processor has no such mode")
    try:
        y, _ = ssm.recurrence(torch.tensor([[[1.0], *[[0.0]] * 300]]), operator)
        assert (tiny / 2 == 0).item() == flush
    finally:
        torch.set_flush_denormal(False)
    # 2^-300 would be reached through subnormal numbers; the smallest normal ones remain
    assert y[0, -1] == 0 or tiny <= y[0, -1] <= 2 * tiny
