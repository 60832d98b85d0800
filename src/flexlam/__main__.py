"""`python -m flexlam` is `flexlam`."""

import sys

from flexlam.cli import main

sys.exit(main())
