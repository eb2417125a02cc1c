"""Evaluation of a model: scores, robustness, time on this host and on a board, and proof that its forms agree."""
