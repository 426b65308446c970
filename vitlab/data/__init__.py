"""Images and labels: manifests, sources, splits, the cache of decoded images, augmentation and the data module."""
