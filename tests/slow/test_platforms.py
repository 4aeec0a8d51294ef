"""The compiled code for other processors and systems: built for all, run where an emulator is."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "sks4/_native/src").glob("*.c"))
KERNELS = [path for path in SOURCES if path.name not in ("module.c", "pool.c")]
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
TARGETS = [
    "x86_64-linux-gnu.2.28",
    "aarch64-linux-gnu.2.28",
    "x86_64-windows-gnu",
    "aarch64-macos",
    "x86_64-macos",
]

# what Python's headers must know of Windows, whose own pyconfig.h is not here
WINDOWS = """
#define MS_WINDOWS 1
#define MS_WIN64 1
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_WCHAR_T 2
#define HAVE_PY_SSIZE_T 1
typedef long long Py_ssize_t;
"""

pytestmark = pytest.mark.slow


def compile_with_zig(*arguments):
    pytest.importorskip("ziglang")
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=900)


@pytest.mark.parametrize("target", TARGETS)
def test_module_compiles_for(target, tmp_path):
    headers = shutil.copytree(sysconfig.get_paths()["include"], tmp_path / "include")
    if "windows" in target:
        (headers / "pyconfig.h").write_text(WINDOWS, encoding="utf-8")
    for source in SOURCES:
        out = tmp_path / f"{source.stem}.o"
        options = ["-target", target, "-fPIC", "-DPy_LIMITED_API=0x030B0000", "-I", headers]
        compile_with_zig(*options, "-c", source, "-o", out)
        assert out.stat().st_size > 0


@pytest.mark.parametrize(
    ("target", "emulator"), [("aarch64-linux-musl", "qemu-aarch64"), ("x86_64-linux-musl", "")]
)
def test_kernels_are_exact_on(target, emulator, tmp_path):
    if emulator and shutil.which(emulator) is None:
        pytest.skip(f"needs {emulator}")
    program = tmp_path / "check"
    check = Path(__file__).with_name("check_kernels.c")
    headers = ["-I", ROOT / "sks4/_native/src"]
    compile_with_zig("-target", target, "-static", *headers, check, *KERNELS, "-o", program)
    command = [*([emulator] if emulator else []), str(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    print(result.stdout)
    assert result.returncode == 0, result.stdout
    assert "gradients" in result.stdout
