"""Arrows run one way: what imports what, when it runs, has no circle, and nothing leans on the command line."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in (ROOT / "ecm_edge").rglob("*.py")}


def imports(module):
    """Modules of the package that one imports when it runs, at its top or inside of a function."""
    tree = ast.parse(MODULES[module].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
    return {name if name in MODULES else name.rpartition(".")[0] for name in named} & set(MODULES) - {module}


ARROWS = {module: imports(module) for module in MODULES}


def test_there_is_no_circle():
    order = list(TopologicalSorter(ARROWS).static_order())
    assert set(order) == set(MODULES)
    assert (
        order.index("ecm_edge.base.errors")
        < order.index("ecm_edge.training.train")
        < order.index("ecm_edge.search.search")
    )


def test_nothing_leans_on_the_commands_and_only_they_and_the_api_on_the_report():
    users = {name: {module for module, used in ARROWS.items() if name in used} for name in MODULES}
    outside = {user for name in MODULES if ".cli" in name for user in users[name]}
    assert {user for user in outside if ".cli" not in user} == set()
    readers = {user for name in MODULES if ".report" in name for user in users[name] if ".report" not in user}
    assert readers == {"ecm_edge.api"}
