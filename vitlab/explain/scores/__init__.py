"""Whether saliency finds the lesion, better than what knows nothing of the model."""
