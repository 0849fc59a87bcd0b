"""Published lists of nearest neighbours and their ranking, and files of inlier counts."""

from __future__ import annotations

import io
import pickle
from functools import partial
from pathlib import Path

import numpy as np
from readers_pickles import random_opcodes
from readers_stages import hdf5_seed, sealed
from registry import register
from scipy.io import savemat

from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.matching.inlier_counts import CountsInfo, read_inlier_counts, write_inlier_counts
from descbench.retrieval.import_ranking import import_ranking

NAMES = {"query": ["q0.jpg", "q1.jpg"], "database": ["a/d0.jpg", "b/d0.jpg", "d1.png"]}


def read_list(path: Path, suffix: str) -> None:
    """The ranking that a list gives."""
    listed = path.rename(path.with_suffix(suffix))
    rows = [row for role, names in NAMES.items() for row in rows_of(role, names)]
    write_manifest(Manifest(tuple(rows)), path.with_name("m.csv"))
    import_ranking(listed, path.with_name("m.csv"), path.with_name("r.h5"))


def pickled_lists() -> list[bytes]:
    ranks = np.array([[2, 1], [0, 2], [1, 0]])
    listed = {"q_images": ["x/q0", "x/q1"], "db_images": ["x/a/d0", "x/b/d0", "x/d1"]}
    return [
        pickle.dumps({**listed, "ranks": rows}, p) for rows in (ranks, ranks[:1].astype(np.int32)) for p in (0, 2, 4)
    ]


def matlab_lists() -> list[bytes]:
    entries = np.empty((1, 2), [("queryname", object), ("topNname", object)])
    for number, names in enumerate((["a/d0.jpg", "d1.jpg"], ["b/d0.jpg"])):
        cells = np.empty((1, len(names)), object)
        cells[0] = names
        entries[0, number] = f"q{number}.jpg", cells
    file = io.BytesIO()
    savemat(file, {"ImgList": entries})
    return [file.getvalue()]


def _counts(folder: Path) -> Path:
    write_inlier_counts([(0, 4), (1, -2)], [(9, 5), (0, 0)], CountsInfo("f" * 64, "a" * 64), folder / "c.h5")
    return folder / "c.h5"


register("pickled lists", partial(read_list, suffix=".pkl"), pickled_lists, mutations=(random_opcodes,))
register("MATLAB lists", partial(read_list, suffix=".mat"), matlab_lists)
register("inlier counts", sealed(read_inlier_counts), hdf5_seed(_counts), file="file.h5")
