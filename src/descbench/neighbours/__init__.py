"""Neighbours: exact nearest vectors, the best of many, k-means and mutual nearest neighbours, by compiled kernels.

Retrieval and matching use them alike. Results are the same on every processor and for any number of threads.
"""
