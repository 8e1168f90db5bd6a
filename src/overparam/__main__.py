"""``python -m overparam``."""

from overparam.cli import main

main()
