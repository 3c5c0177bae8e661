"""Take pages from the web, as WARC files.

crawl.py asks hosts as robots.py lets it, links.py finds where pages lead, warcfile.py writes, archive.py knows what is
there already. commoncrawl.py takes records, and by download.py whole files, of Common Crawl. All talk through http.py.
"""
