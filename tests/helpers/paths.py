"""Where the program and its documentation are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CLI = str(ROOT / "cli.py")
