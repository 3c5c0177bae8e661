"""What redact is made of: the types of personal values, and the recognizers of another project."""
