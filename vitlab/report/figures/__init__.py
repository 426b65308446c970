"""Pictures of the report: each drawn once, for the page in its colours, as PNG and SVG for papers, with its data."""
