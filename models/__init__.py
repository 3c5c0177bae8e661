"""The models that the project ships, and how each is made from data: one folder a model."""
