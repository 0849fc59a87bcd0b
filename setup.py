"""Builds the compiled kernels; everything else is in pyproject.toml."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

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

# The workflow, so that an installed package has it too (`descbench snakefile`).
WORKFLOW = ("Snakefile", "workflow", "config", "envs", "profiles")


class BuildWithWorkflow(build_py):
    """Copies the workflow into a built package; one that is installed as editable reads the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "descbench/_project")
        for name in WORKFLOW:
            if Path(name).is_dir():
                shutil.copytree(name, target / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, target / name)


setup(ext_modules=cythonize(extensions, language_level=3), cmdclass={"build_py": BuildWithWorkflow})
