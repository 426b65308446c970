"""Is the data fit to answer the question: copies, patients across splits, shortcuts, labels, files, shift."""
