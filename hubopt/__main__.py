"""``python -m hubopt``."""

import sys

from hubopt._util.import_path import installed_path

sys.path[:] = installed_path()  # python -m puts the current folder first

from hubopt.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
