"""Record web pages as WARC files: crawl.py asks, http.py talks, links.py finds, warcfile.py writes."""
