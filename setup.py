"""Builds the compiled kernels; everything else is in pyproject.toml."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

PACKAGE = Path("src/descbench")
KERNELS = (PACKAGE / "neighbours/kernels", PACKAGE / "retrieval/kernels")
# No -ffast-math and no contraction: the order and rounding of every addition is part of the result.
# Instruction sets beyond the machine's default are named in the sources, function by function.
COMMON = ["-O3", "-fopenmp", "-ffp-contract=off"]
# For `make sanitize`: flags added to compiling and linking.
EXTRA = os.environ.get("DESCBENCH_BUILD_FLAGS", "").split()


def extension(name: str, room: str, kernels: Sequence[str], flags: Sequence[str], **settings) -> Extension:
    """One compiled module of a room, with the kernels that it needs."""
    folder = PACKAGE / room
    return Extension(
        f"descbench.{room}.{name}",
        [str(folder / f"{name}.pyx"), *(str(folder / "kernels" / kernel) for kernel in kernels)],
        include_dirs=[numpy.get_include(), *map(str, KERNELS)],
        depends=[str(header) for kernels_of in KERNELS for header in kernels_of.glob("*.h")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=[*COMMON, *flags, *EXTRA],
        extra_link_args=["-fopenmp", *EXTRA],
        **settings,
    )


CPP = {"flags": ["-std=c++17", "-fno-math-errno"], "language": "c++"}
NEAREST = ("nearest.cpp", "mutual.cpp", "means.cpp", "vnni.cpp", "avx2.cpp", "portable.cpp")
extensions = [
    extension("_asmk", "retrieval", [], []),
    extension("_nearest", "neighbours", NEAREST, **CPP),
    extension("_flat", "neighbours", ("flat.cpp", "flat_measures.cpp", "flat_vnni.cpp"), **CPP),
]

setup(ext_modules=cythonize(extensions, language_level=3))
