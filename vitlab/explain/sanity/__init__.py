"""Whether maps depend on what the model has learnt."""
