"""A process can bound the threads of every session that is made in it."""

import subprocess
import sys

ASKED = """
from bitsmith.execution.runtime import session_options
from bitsmith.execution.threads import limit_session_threads
found = [session_options(threads).intra_op_num_threads for threads in (0, 1, 4)]
for most in (1, 2):
    limit_session_threads(most)
    found += [session_options(threads).intra_op_num_threads for threads in (0, 1, 4)]
print(found)
"""


def test_sessions_keep_to_the_limit_of_their_process() -> None:
    # In a process of its own: the limit is for good.
    said = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str([0, 1, 4, 1, 1, 1, 2, 1, 2])
