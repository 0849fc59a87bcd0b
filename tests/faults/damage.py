"""What becomes of a file: a bit flips, its end is lost, a block is zeros, another of its kind is in its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

BLOCK = 512  # bytes of a block of a disk

Damage = Callable[[Random, bytes, Sequence[bytes]], bytes]


def flip_bit(dice: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    damaged = bytearray(content)
    bit = dice.randrange(8 * len(content))
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def cut(dice: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return content[: dice.randrange(len(content))]


def zero_block(dice: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    start = dice.randrange(0, len(content), BLOCK)
    return content[:start] + bytes(len(content[start : start + BLOCK])) + content[start + BLOCK :]


def exchange(dice: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Another file of the same rule: whole, with a checksum that is right, and not the one that was asked for."""
    return dice.choice(others) if others else flip_bit(dice, content, others)


DAMAGES: tuple[Damage, ...] = (flip_bit, cut, zero_block, exchange)


def put(path: Path, content: bytes) -> None:
    """Give a file other content behind everybody's back: its time stays, and no other name of it changes."""
    times = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
