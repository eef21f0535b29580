"""Model: Keras graphs, their objectives, and the state that a fit returns."""
