"""What a model kept of its training data: memorization, canaries, and the collapse of models that learn of models."""
