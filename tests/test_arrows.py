"""Arrows run one way: a room imports only rooms before it, and no modules import each other in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ecm_edge"
ROOMS = [
    "base",
    "tasks",
    "targets",
    "data",
    "metrics",
    "candidate",
    "forms",
    "training",
    "firmware",
    "evaluate",
    "search",
    "registry",
    "report",
    "api",
    "cli",
]
"""In the order of the chain. `api` and `cli` are the top, and neither imports the other."""


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(module):
    """Modules of the package that one imports: at its top, inside of a function, or for its types only."""
    nodes = list(ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    names = {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} & set(MODULES) - {module}


ARROWS = {module: imports(module) for module in MODULES}


def room(module):
    return module.split(".")[1]


def test_no_modules_import_each_other_in_a_circle():
    assert set(TopologicalSorter(ARROWS).static_order()) == set(MODULES)


def test_every_module_lies_in_a_room():
    assert {room(module) for module in MODULES if module != "ecm_edge"} == set(ROOMS)


def test_a_room_imports_only_rooms_before_it():
    arrows = [(module, used) for module, others in ARROWS.items() for used in others]
    assert [arrow for arrow in arrows if ROOMS.index(room(arrow[0])) < ROOMS.index(room(arrow[1]))] == []
    assert ("ecm_edge.cli.score", "ecm_edge.evaluate.score") in arrows  # imports inside of functions are seen
    assert ("ecm_edge.metrics.rows", "ecm_edge.data.dataset") in arrows  # and those for types only


def test_the_commands_do_not_go_through_the_api():
    assert "ecm_edge.api" not in {
        used for module in MODULES if module.startswith("ecm_edge.cli") for used in ARROWS[module]
    }
