"""Documents and token shards of a finished run, in the forms that other programs read."""
