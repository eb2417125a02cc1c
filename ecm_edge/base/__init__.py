"""Used by every room; it imports no other. Errors, records, files, numbers, processes, provenance, TOML, tables."""
