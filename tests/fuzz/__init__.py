"""Fuzzing of everything that reads a file: `python -m tests.fuzz --help`, or `make fuzz` for the long run.

    mutators.py   changes of bytes, text, JSON, TOML, and of what lies at a path
    corpus.py     the small valid inputs that are changed, made by a script
    readers.py    each reader: its inputs, its mutations, and the command that reads it
    attempt.py    one input: the exit code, what went wrong, the seconds and the memory
    pool.py       a process that is given inputs, and ended where one takes too long or too much
    compiled.py   generated C under sanitizers against the reference, on NaN, infinities and denormals
    frames.py     the serial protocol under clang's libFuzzer, or under gcc's sanitizers
    guided.py     the same readers under atheris, which follows the coverage
    record.py     the counts and findings of the long run, and their table in tests/README.md

The same reader and seed give the same input.
"""
