"""`python -m curate`, for where the console script is not on PATH."""

from curate.cli import main

main()
