"""vitlab: fair comparisons of image classifiers on your own images."""

__version__ = "0.1.0"
