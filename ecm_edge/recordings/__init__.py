"""Recordings into data sets: one reader a file, and what they share."""
