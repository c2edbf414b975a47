"""Runs the notebooks in order, and writes what a run has found: python -m helpers.series."""
