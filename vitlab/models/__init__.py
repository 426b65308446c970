"""The approaches: what is trained on the images."""
