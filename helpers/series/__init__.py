"""Runs the notebooks in order, and writes what a run is."""
