"""What the code must look like, read from its source: where imports point, and what never occurs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "distail"

ORDER = (
    # what everything may use
    "errors",
    "choices",
    "config",
    "plugins",
    "progress",
    "claims",
    "seeding",
    "artifact",
    "checkpoint",
    "peers",
    "runtime",
    "parallel",
    "provenance",
    "k_means",
    # the stages, in the order in which the data flow
    "data",
    "models",
    "training",
    "experts",
    "problem",
    "matching",
    "synthetic",
    "distilled",
    "learn",
    "baselines",
    "teachers",
    "methods",
    "memory",
    "estimate",
    "export",
    "groups",
    "evaluation",
    "recipe",
    "scorable",
    "recipe_changes",
    "catalog",
    "cost",
    "run_folder",
    "report",
    # what puts them together
    "training_images",
    "pipeline",
    "devices",
    "opening",
    "scoring",
    "relabelling",
    "two_stages",
    "full_data",
    "group_data",
    "group_study",
    "bench",
    "reporting",
    "api",
    "cli",
    "__main__",
)
"""Files and folders of the package. Each imports only what stands before it; a new one needs a place here."""

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
HEAVY = {
    *("torch", "numpy", "numba", "datasets", "sklearn", "matplotlib", "pyarrow", "PIL", "safetensors"),
    *("jaxtyping", "timm", "jinja2"),
}
LIGHT = ("__init__", "__main__", "cli")
"""Where nothing heavy may be imported when the module is, not even by way of another module."""

MODULES = {
    ".".join(("distail", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
each_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def stage_of(module: str) -> str:
    """The file or folder of the package that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def imported_names(node: ast.AST) -> Iterator[str]:
    """The modules that one statement imports, as far as they can be told from its text."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where they point"
        for name in node.names:
            whole = f"{node.module}.{name.name}"
            yield whole if whole in MODULES else str(node.module)


def imports(module: str) -> set[str]:
    """Everything that a module imports anywhere, for types alone included."""
    return {name for node in ast.walk(tree_of(module)) for name in imported_names(node)}


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_at_once(module: str) -> set[str]:
    """What a module imports as soon as it is imported itself; functions wait, and types are never imported."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree_of(module)]
    while waiting:
        node = waiting.pop()
        found.update(imported_names(node))
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not (
                isinstance(child, ast.stmt) and is_for_types(child)
            ):
                waiting.append(child)
    return found


def dotted(node: ast.AST) -> str:
    """'torch.manual_seed' for the expression of that name, else ''."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (start := dotted(node.value)):
        return f"{start}.{node.attr}"
    return ""


def calls(module: str) -> list[tuple[str, int, ast.Call]]:
    """Every call whose name can be read, with its line."""
    nodes = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
    return [(dotted(node.func), node.lineno, node) for node in nodes]


# Order


def test_every_part_of_the_package_has_its_place():
    parts = {stage_of(module) for module in MODULES} - {"__init__"}
    assert parts - set(ORDER) == set(), "give the new file or folder its place in ORDER"
    assert set(ORDER) - parts == set(), "ORDER names what is not there"
    assert len(set(ORDER)) == len(ORDER)


def test_every_part_of_the_package_is_described():
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = "".join(line for line in page.splitlines() if line.startswith("|"))
    parts = {f"{path.name}/" if path.is_dir() else path.name for path in ROOT.iterdir() if path.name[0] not in "._"}
    assert {"recipes/", "errors.py"} <= parts
    for part in parts - {"py.typed"}:
        assert f"`{part}`" in table, f"the table of docs/architecture.md does not say what {part} is for"


@each_module
def test_imports_point_backwards(module):
    if module == "distail":
        return  # the front door names everything, and imports it on first use
    own = ORDER.index(stage_of(module))
    for name in imports(module):
        if name.split(".")[0] == "distail" and name != "distail":
            assert name in MODULES, f"{module} imports {name}, which is not there"
            assert ORDER.index(stage_of(name)) <= own, f"{module} imports {name}, which stands after it"


def test_no_module_imports_itself_by_a_detour():
    graph = {module: {name for name in imports(module) if name in MODULES} - {"distail", module} for module in MODULES}
    del graph["distail"]
    for module in graph:
        # A package and the modules inside it belong together: its __init__ shows what they define.
        graph[module] = {name for name in graph[module] if not module.startswith(f"{name}.")}
    order = list(TopologicalSorter(graph).static_order())
    assert len(order) == len(MODULES) - 1


def test_methods_do_not_know_each_other():
    plugins = {module for module in MODULES if stage_of(module) == "methods" and module.count(".") == 2}
    plugins = {module for module in plugins if not module.split(".")[2].startswith("_")}
    assert len(plugins) >= 5
    for module in plugins:
        assert not imports(module) & (plugins - {module})


def test_the_front_door_leads_to_what_it_names():
    import distail

    for name in distail.__all__:
        assert getattr(distail, name).__module__.startswith("distail.")
    assert list(distail.__all__) == sorted(distail.__all__)
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = distail.distil


# Weight


def test_the_command_line_starts_light():
    reached: set[str] = set()
    waiting = [module for module in MODULES if stage_of(module) in LIGHT]
    while waiting:
        module = waiting.pop()
        if module in reached or module not in MODULES:
            continue
        reached.add(module)
        heavy = {name.split(".")[0] for name in imports_at_once(module)} & HEAVY
        assert not heavy, f"{module} imports {heavy} at once, and is imported by the command line"
        # Importing a module imports the packages it lies in.
        for name in imports_at_once(module):
            waiting += [name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)]
    assert {"distail.cli.distill", "distail.cli.options", "distail.errors", "distail.progress"} <= reached


@pytest.mark.parametrize("module", ["recipe", "config", "evaluation.recipe", "training.recipe"])
def test_recipes_are_light(module):
    names = {name.split(".")[0] for name in imports(f"distail.{module}")}
    assert not names & HEAVY


# What never occurs


@each_module
def test_only_the_command_line_prints(module):
    if stage_of(module) == "cli":
        return
    for name, line, _ in calls(module):
        assert name not in ("print", "sys.stdout.write"), f"{module}:{line} prints"


GLOBAL_SEEDS = {
    *("torch.manual_seed", "torch.random.manual_seed", "torch.seed", "torch.set_rng_state"),
    *("torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.mps.manual_seed"),
    *("np.random.seed", "numpy.random.seed", "np.random.set_state", "random.seed"),
}
GLOBAL_NUMBERS = ("np.random.", "numpy.random.", "random.")
DRAWS = {f"torch.{name}" for name in ("rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli")}
GENERATORS = {"np.random.default_rng", "np.random.RandomState", "np.random.Generator", "random.Random"}


@each_module
def test_random_numbers_have_a_generator_of_their_own(module):
    for name, line, call in calls(module):
        if module != "distail.seeding":
            assert name not in GLOBAL_SEEDS, f"{module}:{line} seeds globally"
        drawn = name.startswith(GLOBAL_NUMBERS) and name not in GENERATORS | GLOBAL_SEEDS
        drawn |= name in DRAWS and not any(keyword.arg == "generator" for keyword in call.keywords)
        assert not drawn, f"{module}:{line} draws from the global generator by {name}"


DANGEROUS = {"eval", "exec", "compile", "__import__", "torch.load", "torch.save", "os.system", "yaml.load", "input"}


@each_module
def test_nothing_foreign_is_executed(module):
    roots = {name.split(".")[0] for name in imports(module)}
    assert not roots & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for name, line, call in calls(module):
        assert name not in DANGEROUS, f"{module}:{line} calls {name}"
        for keyword in call.keywords:
            allows = keyword.arg in ("allow_pickle", "trust_remote_code", "shell")
            off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            assert off or not allows, f"{module}:{line} passes {keyword.arg}"


# Style


def public_definitions(module: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public classes, functions and methods; overloads and what is defined inside functions are left out."""
    waiting: list[tuple[str, ast.Module | ast.ClassDef]] = [(module, tree_of(module))]
    while waiting:
        where, node = waiting.pop()
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
                yield f"{where}.{child.name}", child
                if isinstance(child, ast.ClassDef):
                    waiting.append((f"{where}.{child.name}", child))


@each_module
def test_what_is_public_is_documented(module):
    assert ast.get_docstring(tree_of(module)), f"{module} has no docstring"
    for name, node in public_definitions(module):
        assert ast.get_docstring(node), f"{name} has no docstring"


@each_module
def test_files_and_functions_are_short(module):
    length = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert length <= MAX_FILE_LINES, f"{module} has {length} lines"
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            docstring = node.body[0] if ast.get_docstring(node) else None
            described = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
            lines = node.end_lineno - node.lineno + 1 - described
            assert lines <= MAX_FUNCTION_LINES, f"{module}.{node.name} has {lines} lines besides its docstring"


def test_no_file_is_a_drawer_for_everything():
    names = {name for module in MODULES for name in module.split(".")}
    assert not names & {"utils", "util", "helpers", "misc", "common", "tools"}
