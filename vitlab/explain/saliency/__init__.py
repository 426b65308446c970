"""Saliency: how much each pixel counts for a class, by several methods that need not agree."""
