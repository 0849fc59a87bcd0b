"""Builds the compiled kernels; everything else is in pyproject.toml."""

import os
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

RETRIEVAL = Path("src/descbench/retrieval")
# No -ffast-math and no contraction: the order and rounding of every addition is part of the result.
# Instruction sets beyond the machine's default are named in the sources, function by function.
COMMON = ["-O3", "-fopenmp", "-ffp-contract=off"]
# For `make sanitize`: flags added to compiling and linking.
EXTRA = os.environ.get("DESCBENCH_BUILD_FLAGS", "").split()


def extension(name: str, sources: list[Path], flags: list[str], **settings) -> Extension:
    """One compiled module of the retrieval room."""
    return Extension(
        f"descbench.retrieval.{name}",
        [str(source) for source in sources],
        include_dirs=[numpy.get_include(), str(RETRIEVAL / "kernels")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=COMMON + flags + EXTRA,
        extra_link_args=["-fopenmp", *EXTRA],
        **settings,
    )


KERNELS = [RETRIEVAL / "kernels" / f"{n}.cpp" for n in ("nearest", "mutual", "means", "vnni", "avx2", "portable")]
extensions = [
    extension("_asmk", [RETRIEVAL / "_asmk.pyx"], []),
    extension(
        "_nearest",
        [RETRIEVAL / "_nearest.pyx", *KERNELS],
        ["-std=c++17", "-fno-math-errno"],
        depends=[str(RETRIEVAL / "kernels" / name) for name in ("nearest.h", "vnni.h")],
        language="c++",
    ),
    extension(
        "_flat",
        [
            RETRIEVAL / "_flat.pyx",
            *(RETRIEVAL / "kernels" / name for name in ("flat.cpp", "flat_measures.cpp", "flat_vnni.cpp")),
        ],
        ["-std=c++17", "-fno-math-errno"],
        depends=[str(RETRIEVAL / "kernels" / name) for name in ("flat.h", "nearest.h", "vnni.h")],
        language="c++",
    ),
]

setup(ext_modules=cythonize(extensions, language_level=3))
