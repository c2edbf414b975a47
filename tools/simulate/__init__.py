"""Simulated photographs of digits and of lines of digits."""
