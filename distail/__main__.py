"""`python -m distail` is `distail`."""

from distail.cli import main

main()
