"""Interchange with other localisation pipelines: files of hloc and of kapture, written and read.

Definition: docs/interop.md. Nothing here is a stage of the workflow; the commands are in
:mod:`descbench.interop_commands`.
"""
