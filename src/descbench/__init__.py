"""descbench: the benchmark tables of five papers on image retrieval and local features, rebuilt."""

__version__ = "0.1.0"
