"""What people see: terminal.py prints tables and messages, progress.py shows a run while it goes, and explain.py shows
what was decided about one page.
"""
