"""HTML to text by other people's parsers, in a child process that can be killed."""
