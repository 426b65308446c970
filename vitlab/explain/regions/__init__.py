"""Where accuracy comes from: the image without the lesion, with nothing else, without the air around the head."""
