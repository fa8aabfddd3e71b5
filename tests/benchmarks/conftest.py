import sys
from pathlib import Path

# The benchmarks are scripts that import each other.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
