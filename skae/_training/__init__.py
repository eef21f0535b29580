"""Training: the story of a fit, from the linear start to the model that is kept."""
