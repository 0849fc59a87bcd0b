"""Toytown: small 3-D towns drawn from a seed and written in the official layouts (entry: ``toytown.draw``)."""

DRAW_TOYTOWN_VERSION = 4
