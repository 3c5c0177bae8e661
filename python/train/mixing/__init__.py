"""Mixtures: what share of the tokens comes from which source, by rule, by robust training, by proxies, by annealing."""
