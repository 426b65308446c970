"""Baselines: what simple classifiers on whole groups tell of shortcuts, shift between splits and doubtful labels."""
