"""`python -m autossl` is the command line."""

from autossl.cli import main

if __name__ == "__main__":
    main()
