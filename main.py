"""modular_x.py -> a folder that needs nothing of the original. The same as ``pinfold convert``."""

import sys

from pinfold.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
