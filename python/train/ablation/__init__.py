"""Data recipes judged by the models that they make: equal tokens, equal seeds, the same held-out texts."""
