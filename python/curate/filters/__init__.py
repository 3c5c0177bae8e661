"""Rule tables: rules.py says what a rule and a preset are, presets.py which there are, each family in a file of its
own; groups.py reads other limits by language or label, english.py spaCy's words, sweep.py tries limits on measures."""
