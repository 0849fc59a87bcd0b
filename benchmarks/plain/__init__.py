"""What the project computes, written down as plainly as possible: benchmarks and tests compare with it."""
