"""`python -m ecm_edge.cli.schemas`: write every schema again."""

from ecm_edge.base import files
from ecm_edge.cli import schemas

for command in schemas.RECORDS:
    files.write_atomic(schemas.path(command), schemas.text(command).encode())
