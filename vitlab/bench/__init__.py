"""What vitlab costs: each row measured against a plain reference in the same run."""
