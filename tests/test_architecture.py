"""Promises about the whole code base: what imports what, how long things are, what is written nowhere."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ace_analysis", "ace_lsp")
SHOWN_TO_USERS = "ace_analysis/examples"
"""Code with bugs on purpose, which no rule applies to."""

HEAVY = ("torch", "numpy", "transformers", "tokenizers", "transformer_lens", "sae_lens", "scipy", "sklearn")
LONGEST_MODULE = 300
LONGEST_FUNCTION = 40

EXCEPTIONS: dict[str, dict[str, str]] = {
    "prints": {
        "ace_analysis/cli": "a command line writes to standard output",
    },
    "registers a hook": {
        "ace_analysis/model/hooks.py": "the one place where hooks are registered, each through an ExitStack",
    },
    "reads the environment": {
        "ace_analysis/settings.py": "the one reader of ACE's own variables",
        "ace_analysis/model/runtime.py": "sets OpenMP's variables, which torch reads when it is imported",
    },
}
"""Rule to path (a module, or a folder) to the reason why the rule does not hold there."""


# --- what is imported -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty libraries that can be imported anywhere, so that importing one is seen and costs nothing."""
    folder = tmp_path_factory.mktemp("libraries")
    for name in HEAVY:
        (folder / f"{name}.py").touch()
    return folder


def modules_after(statement: str, first_on_path: Path, *, may_fail: bool = False) -> set[str]:
    """The top-level modules that a new process has loaded after a statement."""
    listing = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    code = f"try:\n    {statement}\nfinally:\n    {listing}"
    path = os.pathsep.join([str(first_on_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert may_fail or done.returncode == 0, f"{statement}:\n{done.stderr}"
    return set(done.stdout.split())


def test_the_server_starts_without_torch(fake_libraries: Path) -> None:
    assert not modules_after("import ace_lsp.server", fake_libraries) & set(HEAVY)


def test_the_servers_command_starts_without_torch(fake_libraries: Path) -> None:
    assert not modules_after("import ace_lsp.__main__", fake_libraries) & set(HEAVY)


def test_importing_the_library_brings_no_other_module_than_the_standard_librarys(
    fake_libraries: Path,
) -> None:
    brought = modules_after("import ace_analysis", fake_libraries) - modules_after("pass", fake_libraries)
    assert brought - set(sys.stdlib_module_names) == {"ace_analysis"}


def test_loading_a_model_brings_torch(fake_libraries: Path) -> None:
    """Else the tests above would pass for a wrong reason. An empty torch can't do more than be imported."""
    assert "torch" in modules_after("import ace_analysis.model.loading", fake_libraries, may_fail=True)


# --- import contracts -----------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copied_checkout(tmp_path: Path) -> Path:
    """The packages' Python files and the contracts, free to be broken."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module in every_module():
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / module, tmp_path / module)
    return tmp_path


def test_the_import_contracts_are_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "import_line", "contract"),
    [
        ("ace_analysis/source/document.py", "import torch", "text and results are plain Python"),
        ("ace_analysis/errors.py", "import ace_lsp", "the engine knows nothing of editors"),
        ("ace_analysis/source/document.py", "import ace_analysis.report.finding", "the engine's layers"),
        ("ace_lsp/__init__.py", "import ace_analysis.model", "never imports torch"),
    ],
)
def test_an_import_that_breaks_a_contract_is_reported(
    copied_checkout: Path, module: str, import_line: str, contract: str
) -> None:
    """Else the test above would pass for a wrong reason."""
    broken = copied_checkout / module
    broken.write_text(f"{broken.read_text(encoding='utf-8')}\n{import_line}\n", encoding="utf-8")
    done = lint_imports(copied_checkout)
    verdicts = [line for line in done.stdout.splitlines() if contract in line and "BROKEN" in line]
    assert done.returncode == 1 and verdicts, done.stdout + done.stderr


def test_a_new_package_has_to_be_given_a_layer(copied_checkout: Path) -> None:
    (copied_checkout / "ace_analysis/unplaced.py").touch()
    done = lint_imports(copied_checkout)
    assert done.returncode == 1 and "unplaced" in done.stdout + done.stderr, done.stdout + done.stderr


# --- layout and length ----------------------------------------------------------------------------------


def every_module() -> list[str]:
    """Paths from the checkout's root, with forward slashes, of all modules that are ours to keep in order."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return [name for name in names if not name.startswith(f"{SHOWN_TO_USERS}/")]


def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), filename=module)


def has_a_subject(test: Path, root: Path) -> bool:
    """Whether `test_<x>.py` lies where the module `x.py`, `_x.py`, `__x__.py` or the package `x/` does."""
    folder = root / test.parent.relative_to(root / "tests")
    subject = test.stem.removeprefix("test_")
    candidates = [folder / f"{subject}.py", folder / f"_{subject}.py", folder / subject / "__init__.py"]
    candidates.append(folder / f"__{subject}__.py")
    return any(path.is_file() for path in candidates)


def test_every_test_file_mirrors_a_module() -> None:
    tests = sorted((ROOT / "tests").glob("ace_*/**/test_*.py"))
    orphans = [str(test.relative_to(ROOT)) for test in tests if not has_a_subject(test, ROOT)]
    assert not orphans, f"no module is called as these tests are: {orphans}"


def test_a_test_file_without_a_module_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "ace_lsp/hover").mkdir(parents=True)
    (tmp_path / "ace_lsp/hover/__init__.py").touch()
    (tmp_path / "ace_lsp/session.py").touch()
    tests = {name: tmp_path / f"tests/ace_lsp/test_{name}.py" for name in ("session", "hover", "sessions")}
    assert {name: has_a_subject(test, tmp_path) for name, test in tests.items()} == {
        "session": True,
        "hover": True,
        "sessions": False,
    }


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, docstring included and decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in every_module()}
    too_long = {name: length for name, length in lengths.items() if length > LONGEST_MODULE}
    assert not too_long, f"split these (at most {LONGEST_MODULE} lines): {too_long}"


def test_no_function_is_longer_than_a_screen() -> None:
    functions = [(name, function) for name in every_module() for function in functions_of(parsed(name))]
    too_long = [
        f"{name}:{function.lineno} {function.name} has {lines_of(function)} lines"
        for name, function in functions
        if lines_of(function) > LONGEST_FUNCTION
    ]
    assert not too_long, f"at most {LONGEST_FUNCTION} lines:\n" + "\n".join(too_long)


def test_a_functions_length_counts_its_docstring_and_not_its_decorators() -> None:
    (function,) = functions_of(ast.parse('@cached\ndef f():\n    """Why."""\n    return 1\n'))
    assert lines_of(function) == 3


# --- what is written nowhere ----------------------------------------------------------------------------


def called(node: ast.AST) -> str:
    """The dotted name that a call calls, or "" where it is no call of a plain name."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def keyword_is(node: ast.AST, name: str, value: object) -> bool:
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return any(
        keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is value
        for keyword in keywords
    )


def imported(node: ast.AST) -> set[str]:
    """The top-level modules that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {(node.module or "").split(".")[0]}
    return set()


def chooses_cuda(node: ast.AST) -> bool:
    """A default or an argument `device="cuda"`, or `.cuda()`; comparing a device with "cuda" is fine."""
    if isinstance(node, ast.arguments):
        return any(name == "device" and is_cuda(default) for name, default in defaults_of(node))
    if isinstance(node, ast.keyword):
        return node.arg == "device" and is_cuda(node.value)
    if isinstance(node, ast.Call):
        return called(node).endswith(".cuda") or (
            called(node) == "torch.device" and any(map(is_cuda, node.args))
        )
    return False


def is_cuda(node: ast.AST | None) -> bool:
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(":")[0] == "cuda"
    )


def defaults_of(arguments: ast.arguments) -> list[tuple[str, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [
        (argument.arg, default) for argument, default in zip(with_default, arguments.defaults, strict=True)
    ]
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return pairs + [(argument.arg, default) for argument, default in keyword_only]


RULES: dict[str, Callable[[ast.AST], bool]] = {
    "prints": lambda node: called(node) == "print",
    "asserts": lambda node: isinstance(node, ast.Assert),
    "unpickles": lambda node: bool(
        imported(node) & {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "joblib"}
    ),
    "loads a torch file that may hold code": lambda node: (
        called(node) == "torch.load" and not keyword_is(node, "weights_only", True)
    ),
    "loads a numpy file that may hold code": lambda node: (
        called(node) in {"np.load", "numpy.load"} and not keyword_is(node, "allow_pickle", False)
    ),
    "chooses CUDA for the user": chooses_cuda,
    "registers a hook": lambda node: (
        isinstance(node, ast.Attribute) and node.attr.startswith("register_") and node.attr.endswith("hook")
    ),
    "reads the environment": lambda node: (
        isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
    ),
    "runs text as code": lambda node: called(node) in {"eval", "exec"},
}

CAUGHT = {
    "prints": "print(1)",
    "asserts": "assert x",
    "unpickles": "from pickle import loads",
    "loads a torch file that may hold code": "torch.load(path, weights_only=False)",
    "loads a numpy file that may hold code": "np.load(path)",
    "chooses CUDA for the user": "def load(name, device='cuda'): ...",
    "registers a hook": "layer.register_forward_pre_hook(f)",
    "reads the environment": "home = os.environ['HOME']",
    "runs text as code": "eval(text)",
}


def covers(path: str, module: str) -> bool:
    return module == path or module.startswith(f"{path}/")


def breaches(rule: str, module: str) -> list[int]:
    """Lines of a module that a rule speaks of."""
    return [getattr(node, "lineno", 1) for node in ast.walk(parsed(module)) if RULES[rule](node)]


@pytest.mark.parametrize("rule", RULES)
def test_no_module(rule: str) -> None:
    bound = [
        name for name in every_module() if not any(covers(path, name) for path in EXCEPTIONS.get(rule, {}))
    ]
    places = [f"{module}:{line}" for module in bound for line in breaches(rule, module)]
    assert not places, f"{rule}: {places}"


@pytest.mark.parametrize("rule", RULES)
def test_breaking_a_rule_is_noticed(rule: str) -> None:
    """Else the test above would pass for a wrong reason."""
    assert any(RULES[rule](node) for node in ast.walk(ast.parse(CAUGHT[rule])))


@pytest.mark.parametrize(
    ("rule", "harmless"),
    [
        ("prints", "printer.print(x)"),
        ("loads a torch file that may hold code", "torch.load(path, weights_only=True)"),
        ("loads a numpy file that may hold code", "np.load(path, allow_pickle=False)"),
        ("chooses CUDA for the user", "def load(name, device='auto'):\n    return device.type == 'cuda'"),
        ("runs text as code", "model.eval()"),
    ],
)
def test_what_only_looks_like_breaking_a_rule_passes(rule: str, harmless: str) -> None:
    assert not any(RULES[rule](node) for node in ast.walk(ast.parse(harmless)))


@pytest.mark.parametrize(
    ("rule", "path"), [(rule, path) for rule, paths in EXCEPTIONS.items() for path in paths]
)
def test_every_exception_is_still_needed(rule: str, path: str) -> None:
    assert any(breaches(rule, module) for module in every_module() if covers(path, module))


def test_the_default_installation_is_free_of_the_engines_libraries() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {
        requirement.split(">")[0].split("=")[0].split("[")[0].strip()
        for requirement in project["dependencies"]
    }
    assert not {name.replace("-", "_") for name in names} & {*HEAVY, "scikit_learn"}
