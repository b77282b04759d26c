"""`python -m distail` is `distail`."""

from distail.cli import main

if __name__ == "__main__":  # processes that it starts import this file as well
    main()
