"""Files of searches by visual words, sealed anew after the damage: words, signatures, inverted files, inliers."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from readers_stages import hdf5_seed, read_inverted_file, sealed
from registry import register
from retrieval_data import draw_images, make_codebook, write_shard

from descbench.retrieval.codebook import Codebook, read_codebook, write_codebook
from descbench.retrieval.geometry import Verified
from descbench.retrieval.hamming import learn_embedding
from descbench.retrieval.inliers import read_inliers, write_inliers
from descbench.retrieval.search_bow import build_bow
from descbench.retrieval.search_hamming import build_hamming
from descbench.retrieval.vocabulary import VocabularyInfo, read_vocabulary, write_vocabulary
from descbench.retrieval.words import assign_words, read_words


def _signed_codebook(folder: Path) -> Path:
    known = vars(read_codebook(make_codebook(folder / "plain.h5", size=6)))
    points = np.concatenate(draw_images([40], seed=3))
    embedding = learn_embedding(points, np.arange(40) % 6, known["centroids"], bits=12, seed=0)
    write_codebook(Codebook(**{**known, "embedding": embedding}), folder / "c.h5")
    return folder / "c.h5"


def _words(folder: Path) -> Path:
    codebook = make_codebook(folder / "c.h5")
    return _assigned(folder, codebook)


def _signed(folder: Path) -> Path:
    return _assigned(folder, _signed_codebook(folder))


def _assigned(folder: Path, codebook: Path) -> Path:
    shard = write_shard(folder / "s.h5", draw_images([5, 0, 7]), skip=(1,))
    assign_words(shard, codebook, folder / "w.h5", n=6, multiple_assignment=2)
    return folder / "w.h5"


def _counts(folder: Path) -> Path:
    build_bow(_words(folder), folder / "i.h5")
    return folder / "i.h5"


def _signatures(folder: Path) -> Path:
    build_hamming(_signed(folder), folder / "i.h5")
    return folder / "i.h5"


def _inliers(folder: Path) -> Path:
    found = Verified(np.array([[1.0, 0, 30], [0, 1, -4]]), np.array([[0, 2], [3, 1]]))
    write_inliers([(0, 4, found), (0, 2, found), (3, -1, found)], "sv on town", folder / "v.h5")
    return folder / "v.h5"


def _vocabulary(folder: Path) -> Path:
    info = VocabularyInfo("f" * 64, "a" * 64, version("pycolmap"))
    write_vocabulary(info, np.arange(200, dtype=np.uint8), folder / "v.h5")
    return folder / "v.h5"


def read_signed_words(path: Path) -> None:
    """Words with all that a search looks at."""
    known = read_words(path)
    for position in range(len(known.image_ids)):
        if known.signatures is None:
            known.of(position)
        else:
            known.signed(position)


for name, make, read in (
    ("words", _words, read_signed_words),
    ("words with signatures", _signed, read_signed_words),
    ("codebooks with thresholds", _signed_codebook, read_codebook),
    ("indexes of counts", _counts, read_inverted_file),
    ("indexes of signatures", _signatures, read_inverted_file),
    ("inliers", _inliers, read_inliers),
    ("vocabularies of COLMAP", _vocabulary, read_vocabulary),
):
    register(name, sealed(read), hdf5_seed(make), file="file.h5")
