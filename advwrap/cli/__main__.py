"""`python -m advwrap.cli`, for where the console script is not on the path."""

from advwrap.cli.main import main

if __name__ == "__main__":
    main()
