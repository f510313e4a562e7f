"""`__main__.py` on the machines: the folder that Python is told to run has the package beside this file."""

import sys

from bastide_alerts.watch import main  # type: ignore[import-not-found]  # where it is installed

sys.exit(main(sys.argv[1:]))
