"""What people see: terminal.py prints tables and messages, progress.py shows a run while it goes."""
