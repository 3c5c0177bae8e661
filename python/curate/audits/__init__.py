"""Audits, a file for each stage: what a stage finds among things planted in the user's own documents."""
