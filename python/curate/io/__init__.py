"""Every reader and writer: inputs.py lists and slices, read.py and warc.py read, write.py commits."""
