"""Tokenizers: files.py writes them, model.py reads and opens them, unigram.py wraps a library, report.py measures."""
