"""`python -m bitsmith` is the command `bitsmith`."""

import sys

from bitsmith.cli import main

code = main()
# CPython remembers an interrupt that came up through exec() or eval() of a text, as it does where a dataclass is made,
# and then ends `python -m` by that signal although it was caught. The next text that it evaluates makes it forget.
eval("None")
sys.exit(code)
