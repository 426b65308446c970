"""The patients that are looked at, what models look at in them, and what they remind the models of."""
