"""Pickles, files of torch.save and MATLAB files."""

from __future__ import annotations

import io
import pickle
import re
import struct
from collections import OrderedDict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from mutations import damage_bytes, damage_packed, damage_zip
from registry import register
from scipy.io import savemat

from descbench.config.networks import NetVladModel
from descbench.io.matfiles import read_mat
from descbench.io.pickles import load_pickle
from descbench.models.netvlad_files import read_netvlad_file
from descbench.models.torch_files import load_torch_file

# What a pickle is made of, hostile things among them: lengths beyond the file, pairs of pairs, calls.
_PIECES = [bytes([code]) for code in b"(.01Nba]})\x85\x86\x87\x88\x89tles2uR\x81\x8f\x90\x91\x94Qo\x92\x93"] + [
    b"q\0", b"h\0", b"r\0\0\0\0", b"K\x05", b"M\xff\xff", b"J\xff\xff\xff\xff", b"G\x7f\xf0\0\0\0\0\0\0",
    b"X\x01\0\0\0a", b"\x8c\x02ab", b"U\x01x", b"C\x04abcd", b"X\x02\0\0\0S0", b"X\x02\0\0\0O8", b"S'a'\n", b"Va\n",
    b"\x96" + struct.pack("<Q", 1 << 40), b"\x8e" + struct.pack("<Q", 1 << 62), b"\x95" + struct.pack("<Q", 1 << 50),
    b"\x8b" + struct.pack("<i", 1 << 30), b"\x8a\x09" + bytes(8) + b"\x01", b"I" + b"9" * 5000 + b"\n",
    b"L" + b"9" * 4000 + b"L\n", b"F1e999\n", b"p0\n", b"g0\n", b"X\x07\0\0\0storage", b"Pstorage\n", b"(dl(li",
    b"\x85" * 40, b"2\x86" * 40, b"]" + b"2\x86" * 60 + b"a", b"\x94h\0\x86" * 30,
]  # fmt: skip
_PIECES += [
    f"c{module}\n{name}\n".encode()
    for module, names in {
        "numpy": "dtype ndarray",
        "numpy.core.multiarray": "_reconstruct scalar",
        "numpy.core.numeric": "_frombuffer",
        "collections": "OrderedDict Counter",
        "builtins": "set frozenset complex bytes bytearray getattr",
        "_codecs": "encode",
        "torch._utils": "_rebuild_tensor_v2 _rebuild_parameter",
        "torch": "FloatStorage Size float32",
        "pathlib": "PosixPath",
    }.items()
    for name in names.split()
]


_NETVLAD = NetVladModel(architecture="netvlad", backbone="vgg16", weights={"source": "random"})


def random_opcodes(dice: Random, content: bytes) -> bytes:
    """Opcodes put in at random places of a pickle, or behind each other as one."""
    inserted = b"".join(dice.choices(_PIECES, k=dice.choice((1, 2, 4, 20))))
    if dice.random() < 0.3:
        return b"\x80\x04" + inserted * dice.choice((1, 1, 1, 500)) + b"."
    place = dice.randrange(len(content) + 1)
    return content[:place] + inserted + content[place:]


def pickle_seeds() -> list[bytes]:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    ground_truth = {
        "imlist": ["a", "b", "c"],
        "qimlist": ["q"],
        "gnd": [{"bbx": [0.0, 1.5, 20.0, 30.0], "easy": [0], "hard": np.array([1]), "junk": []}],
    }
    values: list[Any] = [
        ground_truth,
        [array, np.asfortranarray(array), np.array(["x", None], object), np.float64(0.5), np.dtype(">i2")],
        {"a": (1, 2.5, None, True, b"xy", "ü"), "b": {1, 2}, "c": frozenset({3}), "d": 2**100, "e": 1 + 2j},
        OrderedDict([("z", bytearray(b"ab")), ("a", np.array([b"ash", b"fir"]))]),
    ]
    return [pickle.dumps(value, protocol) for value in values for protocol in (0, 2, 4, 5)]


def _weights() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 2, 2, generator=generator)
    return OrderedDict(
        [
            ("conv.weight", weight),
            ("conv.bias", torch.nn.Parameter(torch.zeros(4))),
            ("view", weight[1:, :, 0].transpose(0, 1)),
            ("half", torch.ones(3, dtype=torch.float16)),
            ("count", torch.tensor(7)),
            ("flags", torch.tensor([True, False])),
            ("empty", torch.zeros(0, 5)),
        ]
    )


def torch_seeds(*, zipped: bool) -> list[bytes]:
    meta = {
        "mean": [0.4, 0.5, 0.6],
        "Lw": {"set": {"ss": {"m": np.ones((2, 1)), "P": np.eye(2)}}},
        "size": torch.Size((1,)),
    }
    contents = [
        _weights(),
        {"epoch": 3, "state_dict": _weights(), "meta": meta, "start": Path("weights") / "start.pth"},
        {"state_dict": {"module." + key: value for key, value in _weights().items()}, "best": np.float64(0.5)},
    ]
    seeds = []
    for content in contents:
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        seeds.append(file.getvalue() if zipped else _with_fixed_keys(file.getvalue()))
    return seeds


def _with_fixed_keys(content: bytes) -> bytes:
    """The old format calls storages by their addresses; a seed must be the same in every run."""
    for number, key in enumerate(dict.fromkeys(re.findall(rb"\d{12,16}", content))):
        content = content.replace(key, str(number).zfill(len(key)).encode())
    return content


def damage_torch_pickle(dice: Random, content: bytes) -> bytes:
    """Opcodes in the pickle of a zip archive of torch.save."""
    return damage_zip(dice, content, damage=random_opcodes, only="data.pkl")


def mat_seeds() -> list[bytes]:
    names = np.empty((3, 1), object)
    names[:, 0] = ["a.jpg", "b.jpg", "ü.jpg"]
    record = {"names": names, "utm": np.arange(6.0).reshape(2, 3), "n": 3, "many": np.array([(1,), (2,)], [("x", "O")])}
    seeds = []
    for packed in (False, True):
        file = io.BytesIO()
        savemat(file, {"before": np.eye(2), "wanted": record}, do_compression=packed)
        seeds.append(file.getvalue())
    file = io.BytesIO()  # one variable, whose stream reaches the end of the file
    savemat(file, {"wanted": record}, do_compression=True)
    return [*seeds, file.getvalue()]


def damage_variable(dice: Random, content: bytes) -> bytes:
    """Bytes of a packed variable, which is packed again."""
    start = 128 + 8
    try:
        packed = damage_packed(dice, content, start)
    except ValueError:
        return damage_bytes(dice, content)
    return packed[: start - 4] + struct.pack("<I", len(packed) - start) + packed[start:]


register("pickle", load_pickle, pickle_seeds, mutations=(random_opcodes,), share=2)
register(
    "torch zip",
    load_torch_file,
    lambda: torch_seeds(zipped=True),
    mutations=(damage_zip, damage_torch_pickle),
    share=2,
)
register("torch legacy", load_torch_file, lambda: torch_seeds(zipped=False), mutations=(random_opcodes,), share=2)
register(
    "netvlad checkpoint",
    lambda path: read_netvlad_file(_NETVLAD, path),
    lambda: torch_seeds(zipped=True)[1:],
    mutations=(damage_zip, damage_torch_pickle),
)
register("mat", lambda path: read_mat(path, "wanted"), mat_seeds, mutations=(damage_variable,))
