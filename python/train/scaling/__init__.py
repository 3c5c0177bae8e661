"""Scaling laws: plan runs, train them, fit loss against parameters and tokens, and predict larger runs."""
