"""Matching: correspondences between the descriptors of two images."""
