"""What the features of a model hold: hospital and scanner, how unlike an image is, what pretraining has learnt."""
