"""Compile the native module for other platforms with zig, and say which of them it can build.

Needs ``pip install ziglang``. Run from the repository's root::

    python tools/cross_compile.py build/cross                     # all platforms
    python tools/cross_compile.py build/cross aarch64-linux-gnu.2.28

What is compiled here and not run is nothing but that. The recurrence is also compiled into
``check_<platform>``, a program without Python that compares it with single steps in double
precision. A foreign Linux program runs under an emulator::

    qemu-aarch64 -L / build/cross/check_aarch64-linux-musl
"""

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCES = Path("sks4/_native/src")
PLATFORMS = (
    "x86_64-linux-gnu.2.28",
    "aarch64-linux-gnu.2.28",
    "aarch64-linux-musl",  # static, for emulators
    "x86_64-windows-gnu",
    "x86_64-macos",
    "aarch64-macos",
)
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")


def compile_for(platform: str, output: Path, sources: list[Path], *flags: str) -> bool:
    """Return whether the sources could be compiled and linked."""
    command = [sys.executable, "-m", "ziglang", "cc", f"--target={platform}", *FLAGS, *flags]
    command += [*map(str, sources), "-o", str(output)]
    return subprocess.run(command, check=False).returncode == 0


def compile_module(platform: str, folder: Path) -> bool:
    """Compile the Python module; symbols of Python are found when it is loaded."""
    output = folder / f"_core_{platform}.abi3.so"
    flags = ["-shared", "-fPIC", "-DPy_LIMITED_API=0x030B0000"]
    flags += [f"-I{sysconfig.get_path('include')}"]
    if "macos" in platform:
        flags += ["-undefined", "dynamic_lookup"]
    return compile_for(platform, output, sorted(SOURCES.glob("*.c")), *flags)


def compile_check(platform: str, folder: Path) -> bool:
    """Compile the program that checks the recurrence."""
    sources = [path for path in sorted(SOURCES.glob("*.c")) if path.name != "module.c"]
    check = Path(__file__).with_name("check_recurrence.c")
    flags = [f"-I{SOURCES}", *(["-static"] if "musl" in platform else [])]
    return compile_for(platform, folder / f"check_{platform}", [*sources, check], *flags)


def main() -> int:
    """Compile for all platforms, print a line for each, and return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("platforms", nargs="*", default=PLATFORMS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for platform in options.platforms:
        for what in (compile_module, compile_check):
            # static programs load no module, and a module for Windows needs Python's import library
            if what is compile_module and ("musl" in platform or "windows" in platform):
                continue
            good = what(platform, options.folder)
            failed |= not good
            print(
                f"{platform:<24} {what.__name__:<16} {'compiled' if good else 'FAILED'}", flush=True
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
