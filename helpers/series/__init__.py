"""Runs the notebooks in order, and writes what a run has found: python -m helpers.series."""

import sys

# jsonschema, which nbformat imports, would compile a grammar of web addresses with it: three seconds of every start.
sys.modules.setdefault("rfc3987_syntax", None)
