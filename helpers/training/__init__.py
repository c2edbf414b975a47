"""How networks are trained and tuned."""
