"""Builds the Cython kernel; everything else is in pyproject.toml."""

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

kernel = Extension(
    "descbench.retrieval._asmk",
    ["src/descbench/retrieval/_asmk.pyx"],
    include_dirs=[numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    # No -ffast-math and no contraction: the order and rounding of every addition is part of the result.
    extra_compile_args=["-O3", "-fopenmp", "-ffp-contract=off"],
    extra_link_args=["-fopenmp"],
)

setup(ext_modules=cythonize([kernel], language_level=3))
