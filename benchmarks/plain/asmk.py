"""ASMK written down as plainly as possible: the definition that the kernel is compared with.

The steps are those of docs/protocols/asmk.md, Aggregation to Search.
Nothing here is fast: NumPy for one word of one image, Python for everything around it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def aggregate(vectors, words, offsets, centroids, binary):
    """Aggregated images: rows, words and first row of each image."""
    rows, row_words, entries = [], [], [0]
    for low, high in pairwise(offsets):
        for word in np.unique(words[low:high]):
            inside = (words[low:high] == word).any(axis=1)
            residuals = vectors[low:high][inside] - centroids[word]
            total = np.add.accumulate(residuals, axis=0, dtype=np.float32)[-1]
            rows.append(pack(total) if binary else normalise(total))
            row_words.append(word)
        entries.append(len(rows))
    empty = np.zeros((0, len(pack(centroids[0])) if binary else centroids.shape[1]), np.uint8 if binary else np.float32)
    return np.array(rows, empty.dtype).reshape(-1, empty.shape[1]), np.array(row_words, np.int64), np.array(entries)


def pack(total):
    """Signs of a sum as bytes: 1 where positive, first dimension in the most significant bit, whole 32-bit words."""
    bits = np.zeros(32 * (-(-len(total) // 32)), np.uint8)
    bits[: len(total)] = total > 0
    return np.packbits(bits)


def normalise(total):
    """A sum over its norm."""
    square = np.add.accumulate(total.astype(np.float64) ** 2)[-1]
    return total / (np.float32(np.sqrt(square)) + np.float32(1e-6))


def invert(rows, words, entries, num_words, first_image=0):
    """Per word its list of (image id, row), in order of insertion."""
    lists = [([], []) for _ in range(num_words)]
    for image, (low, high) in enumerate(pairwise(entries)):
        for word, row in zip(words[low:high].tolist(), rows[low:high], strict=True):
            lists[word][0].append(first_image + image)
            lists[word][1].append(row)
    return [(np.array(ids, np.int64), np.array(found, rows.dtype)) for ids, found in lists]


def norms(lists, num_images, idf):
    """Per image the sum of the idf of its entries."""
    found = np.zeros(num_images)
    for word, (ids, _) in enumerate(lists):
        for image in ids.tolist():
            found[image] += float(idf[word])
    return found


def search(rows, words, lists, image_norms, threshold, alpha, idf):
    """Scores of all images for one query; ``idf`` None = no idf."""
    scores = np.zeros(len(image_norms))
    weights = np.ones(len(lists), np.float32) if idf is None else idf
    query_norm = 0 if idf is None else np.float32(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        for word, row in zip(words.tolist(), rows, strict=True):
            query_norm = query_norm + (1 if idf is None else idf[word])
            ids, others = lists[word]
            if len(ids) == 0:
                continue
            similarity = similarities(row, others)
            kept = similarity >= threshold
            values = similarity[kept] ** alpha * weights[word]
            scores[ids[kept]] += (values / np.sqrt(image_norms[ids[kept]])).astype(np.float32)
        return scores if len(words) == 0 else scores / np.sqrt(np.float32(query_norm))


def similarities(row, others):
    """Similarity of one row with those of a list, float32."""
    if row.dtype != np.uint8:
        return others @ row
    bits = np.float32(8 * len(row))
    distances = np.bitwise_count(others ^ row).sum(axis=1, dtype=np.int64)
    return 1 - 2 * (distances.astype(np.float32) / bits)


def rank(scores, image_ids):
    """Image ids of one query: descending score, ties by ascending id, NaN last."""
    pairs = zip(scores.tolist(), image_ids, strict=True)
    return [image for _, _, image in sorted((score != score, -score if score == score else 0, i) for score, i in pairs)]
