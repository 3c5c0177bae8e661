"""Text classifiers in fastText's format: training, measuring, and models on disk with their cards."""
