"""faiss, which comes as one of two packages that exclude each other: for CPUs or for GPUs."""

try:
    import faiss
except ImportError as error:
    raise ImportError(
        "faiss is not installed: `pip install descbench[cpu]` or `descbench[gpu]` (requirements/cpu.txt, gpu.txt)."
    ) from error

__all__ = ["faiss"]
