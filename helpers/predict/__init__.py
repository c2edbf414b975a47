"""Reading pictures with the shipped network, or another."""
