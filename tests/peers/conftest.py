import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

from tables import pytest_terminal_summary  # noqa: E402,F401
