"""What only maintainers run: python -m tools.NAME."""
