"""Speed of descbench against plain implementations of the same thing: ``python -m benchmarks.bench``."""
