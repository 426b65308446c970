"""How a worker of a study comes to be: as a process here, as a SLURM job, or as a Ray actor."""
