"""Rule tables: rules.py says what a rule and a preset are, presets.py which there are, each in a file of its own."""
