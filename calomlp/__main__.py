"""``python -m calomlp`` is the command ``calomlp``."""

from calomlp.cli import main

if __name__ == "__main__":
    main()
