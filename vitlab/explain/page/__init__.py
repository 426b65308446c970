"""The pages of `explain`: one with all patients, and one for each."""
