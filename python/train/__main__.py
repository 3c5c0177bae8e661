"""`python -m train`, the same as `train`."""

from train.cli import main

main()
