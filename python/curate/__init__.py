"""curate: from a web crawl to clean, deduplicated, tokenized training data, with a reason for every drop."""
