"""`python -m ecm_edge.schemas`: write every schema again."""

from ecm_edge import files, schemas

for command in schemas.RECORDS:
    files.write_atomic(schemas.path(command), schemas.text(command).encode())
