"""predict on files: probabilities, unlikeness and saliency of images that no data set names."""
