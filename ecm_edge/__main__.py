"""`python -m ecm_edge`."""

from ecm_edge.cli import main

main()
