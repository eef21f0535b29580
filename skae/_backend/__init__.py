"""Backend: programs that train and infer, compiled by TensorFlow or JAX."""
