"""``python -m relume``: the same command."""

from relume.cli import main

if __name__ == "__main__":
    main()
