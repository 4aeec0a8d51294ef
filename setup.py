"""The optional compiled module; everything else about the build is in pyproject.toml.

``SKS4_NATIVE=0`` leaves it out, ``SKS4_NATIVE=require`` turns a failure to compile into an error.
"""

import hashlib
import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SOURCES = Path("sks4/_native/src")
THREADS = [] if os.name == "nt" else ["-pthread"]


def source_hash() -> str:
    """Return the hash that the package compares with that of its sources."""
    files = sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


class BuildNative(build_ext):
    """Compile with GCC or Clang, whose vectors the sources are written in."""

    def build_extension(self, ext: Extension) -> None:
        """Refuse Microsoft's compiler, with a sentence in place of its errors."""
        if self.compiler.compiler_type == "msvc":
            raise CompileError("the compiled recurrence needs GCC or Clang")
        super().build_extension(ext)


def extensions() -> list[Extension]:
    """Return the compiled module unless it is not wanted."""
    wanted = os.environ.get("SKS4_NATIVE", "1")
    if wanted == "0":
        return []
    return [
        Extension(
            "sks4._native._core",
            sorted(path.as_posix() for path in SOURCES.glob("*.c")),
            depends=sorted(path.as_posix() for path in SOURCES.glob("*.h")),
            define_macros=[
                ("Py_LIMITED_API", "0x030B0000"),
                ("SOURCE_HASH", f'"{source_hash()}"'),
            ],
            extra_compile_args=[
                "-std=gnu11",
                "-O3",
                "-ffp-contract=fast",
                "-fno-math-errno",
                "-fno-trapping-math",
                *THREADS,
            ],
            extra_link_args=THREADS,
            py_limited_api=True,
            optional=wanted != "require",
        )
    ]


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if extensions() else {},
)
