"""What a trained model looks at, and the patients that it gets right and wrong."""
