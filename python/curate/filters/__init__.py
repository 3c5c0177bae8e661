"""Rule tables: rules.py says what a rule and a preset are, each preset is a file."""
