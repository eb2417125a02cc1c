"""From labelled ECG recordings and a named board to a proven, counted, honestly measured classifier.

`ecm_edge.api` has the verbs of the command line as functions. This module imports nothing, so that --help is quick.
"""
