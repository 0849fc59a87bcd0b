# distutils: language = c
"""ASMK kernels."""
