"""What a notebook depends on: the files of the project that it imports, and those that it declares under Needs.

Imports are read from the syntax alone; nothing is run.
"""

import ast
import functools
import re
from collections import Counter, defaultdict
from pathlib import Path

from helpers import paths
from helpers.notebook.run import find

PACKAGES = ("helpers", "tools")


def closure(sources: list[str]) -> set[Path]:
    """The files of PACKAGES that the cells of one notebook import, directly or not, and what lies beside these.

    A room (a package) counts as the files whose names are used, looked up in the table of its __init__.py; as all its
    files where that cannot be told. Cells are taken together, since one imports what another uses.
    """
    found: set[Path] = set()
    text = "\n".join(source for source in sources if _nodes(source))
    # Answers are looked up by number, not imported.
    numbers = set(re.findall(r'exercises\.check\("(\d\d)\.', text))
    pending = _behind(text) | {paths.ROOT / f"helpers/notebook/checks/notebook_{number}.py" for number in numbers}
    while pending:
        file = pending.pop()
        if file not in found and file.is_file():
            found |= {file, *file.parent.glob(f"{file.stem}.*")}  # pad.py brings pad.js and pad.css
            pending |= _behind(file.read_text(encoding="utf-8"))
    return found


def needed(need: str, run: Path, usual: bool = False) -> list[Path]:
    """The files behind an entry of Needs: of the project for data/ and outputs/, else of the run, where `find` finds it.

    An entry that ends in a slash is a folder with all that it holds. A file is listed whether it exists or not.
    """
    path = paths.ROOT / need if need.startswith(("data/", "outputs/")) else find(need, run, usual)
    return sorted(file for file in path.rglob("*") if file.is_file()) if need.endswith("/") else [path]


@functools.cache
def _nodes(source: str) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return []  # the run will stop there and say so


@functools.cache
def _imports(source: str) -> set[str]:
    """The dotted names that a source imports, each with an attribute that is used of it, such as helpers.room.Small.

    Without one where the name is also used in another way, such as handed on.
    """
    nodes = _nodes(source)
    names = Counter(node.id for node in nodes if isinstance(node, ast.Name))
    attributes = defaultdict(list)
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes[node.value.id].append(node.attr)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                dotted, used = f"{node.module}.{alias.name}", attributes[alias.asname or alias.name]
                whole = not used or len(used) < names[alias.asname or alias.name]
                found |= {dotted} if whole else {f"{dotted}.{attribute}" for attribute in used}
    return found


def _behind(source: str) -> set[Path]:
    """The files behind the imports of one source: files, or those of a room that may hold a name, all if it has none."""
    files = set()
    for dotted in _imports(source):
        room, parts = paths.ROOT, dotted.split(".")
        if parts[0] not in PACKAGES:
            continue
        while parts and (room / parts[0]).is_dir():
            room /= parts.pop(0)
            files.add(room / "__init__.py")
        files |= _holders(room, parts[0]) if parts else set(room.rglob("*.py"))
    return files


def _holders(room: Path, name: str) -> set[Path]:
    """The files of a room that may hold a name: the one called so, the one that its table gives, or else all."""
    if (room / f"{name}.py").is_file():
        return {room / f"{name}.py"}
    init = room / "__init__.py"
    for node in _nodes(init.read_text(encoding="utf-8") if init.is_file() else ""):
        if isinstance(node, ast.Call) and len(node.args) == 3:  # lazy_loader.attach(__name__, files, {file: names})
            for file, names in ast.literal_eval(node.args[2]).items():
                if name in names:
                    return {room / f"{file}.py"}
    return set(room.glob("*.py"))
