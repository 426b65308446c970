"""The runs of a study, taken from disk with their weights."""
