"""What the deduplicating stages are made of: which copy stays, bands and rows, indexes, clusters, units of text."""
