"""Files: what is broken, blank, odd, written on, or wrongly masked."""
