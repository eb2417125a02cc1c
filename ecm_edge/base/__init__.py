"""Used by every room: errors, records, files, processes, provenance, TOML files, tables. It imports no other room."""
