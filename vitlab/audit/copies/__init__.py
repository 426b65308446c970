"""Copies: images that show the same picture or the same scan, found by digest and by registration."""
