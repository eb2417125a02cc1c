"""Recordings in, a data set of labelled segments out: readers, checks, splits by subject, synthetic ECG, noise."""
