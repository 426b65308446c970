"""What a finished run is worth: its predictions on disk, the metrics of them, probes of its features."""
