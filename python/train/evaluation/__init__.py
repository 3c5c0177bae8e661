"""What a model knows, measured: bits per byte of held-out text, and of every document."""
