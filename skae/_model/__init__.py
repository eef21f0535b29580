"""Model: Keras graphs, what they minimise, and what a fit ends at."""
