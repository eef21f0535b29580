"""Training: the steps of a fit, from the linear initialisation to the final model."""
