"""The model of the HTML extractor: pages with a truth, the metric, and training."""
