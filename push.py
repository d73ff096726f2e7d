"""Model folder + checkpoint -> a verified, pinned commit. The same as ``pinfold push``."""

import sys

from pinfold.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["push", *sys.argv[1:]]))
