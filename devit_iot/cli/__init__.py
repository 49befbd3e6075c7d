"""The commands: parse, build, run. Errors become one line."""

import os

# The matrices of a fusion are too small to share out, and on a busy machine waiting for a second
# core takes a hundred times as long as the product. numpy reads this once, when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
