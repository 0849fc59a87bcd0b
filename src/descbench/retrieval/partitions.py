"""Partitions of the original asmk package (its ``(T, I)`` slices of a list of images).

descbench cuts work into shards of its own; these bounds are for reading or reproducing files that
were made in partitions. Definition: fact sheet of asmk, section 6.
"""

from __future__ import annotations


def partition_bounds(total: int, parts: int, index: int) -> tuple[int, int]:
    """First image and end of partition ``index`` of ``parts`` of a list of ``total`` images."""
    # In float64, as the original: the products are cut, not rounded.
    return int(total * (index / parts)), int(total * ((index + 1) / parts))


def partition_suffix(parts: int, index: int) -> str:
    """File name suffix ``:T_I``, with I zero-padded to the width of T - 1."""
    return f":{parts}_{index:0{len(str(parts - 1))}d}"
