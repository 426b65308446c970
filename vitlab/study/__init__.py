"""Studies: one YAML file, many runs, each made once by the ordinary `fit`."""
