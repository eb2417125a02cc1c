"""How good the ways to search are: each is replayed on a table of candidates that were trained once.

    python -m benchmarks.strategies train DATA -o WORK              trains the table's candidates, for hours
    python -m benchmarks.strategies train DATA -o WORK --write      keeps what is there in records/strategies.json
    python -m benchmarks.strategies replay --write                  replays, and keeps records/strategies_replayed.json

DATA is the data set of the contest's segments (`data/reference/README.md` says how it is made). `candidates.py` trains
the table, `replay.py` says how a strategy is replayed, and `python -m benchmarks.figures` shows the results in
benchmarks/README.md.
"""
