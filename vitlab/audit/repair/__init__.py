"""Repair: a manifest in which no patient, picture or scan stands on two sides of a split."""
