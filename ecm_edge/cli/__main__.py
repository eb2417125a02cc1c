"""`python -m ecm_edge.cli`: the command line where no `ecm-edge` is on the path."""

from ecm_edge.cli import main

main()
