"""One command a figure: kernels and stages beside their peers, from the same text, in the same invocation."""
