"""`python -m autossl` is the command line."""

from autossl.cli.commands import main

if __name__ == "__main__":
    main()
