"""One incumbent a board: promotion, its history, and the bundle for whoever flashes it."""
