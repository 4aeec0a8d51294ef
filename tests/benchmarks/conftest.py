import sys
from pathlib import Path

# The benchmarks are no part of the installed package; plain `pytest` does not look beside it.
sys.path.append(str(Path(__file__).resolve().parents[2]))
