"""`python -m bitsmith` is the command `bitsmith`."""

import sys

from bitsmith.cli import main

sys.exit(main())
