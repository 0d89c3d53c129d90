"""Which files a command is about."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ace_analysis.errors import SettingsError
from ace_analysis.source.files import Exclusion, find_files

MakeTree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTree:
    """Make files in an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str, **texts: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts.get(name, ""), encoding="utf-8")
        return tmp_path

    return make


def found(*paths: str, exclude: Sequence[str] = (), folder: Path | None = None) -> list[str]:
    exclusions = [Exclusion(folder=folder or Path.cwd(), patterns=tuple(exclude))] if exclude else []
    return [
        f"{each.path.as_posix()}{'!' if each.problem else '-' if each.left_out else ''}"
        for each in find_files(paths, exclusions)
    ]


def test_a_folder_gives_its_python_files_by_name(tree: MakeTree) -> None:
    tree("b.py", "a.py", "c.pyw", "d.pyi", "e.txt", "f.pyc", "sub/z.py", "sub/deep/y.py", "a_dir.py/x.py")
    assert found(".") == ["a.py", "b.py", "c.pyw", "a_dir.py/x.py", "sub/z.py", "sub/deep/y.py"]


def test_paths_are_shown_as_they_were_named(tree: MakeTree) -> None:
    root = tree("src/a.py")
    assert found("src") == found("./src/") == ["src/a.py"]
    assert found(str(root / "src")) == [f"{root.as_posix()}/src/a.py"]


def test_a_named_file_is_taken_whatever_it_is_called(tree: MakeTree) -> None:
    tree("script", "x.pyi", "build/a.py", ".hidden.py")
    names = ("script", "x.pyi", "build/a.py", ".hidden.py")
    assert found(*names) == list(names)


def test_no_file_comes_twice(tree: MakeTree) -> None:
    root = tree("src/a.py", "src/b.py")
    assert found("src/a.py", "src", ".", "./src/../src/a.py", str(root), "src/*.py") == [
        "src/a.py",
        "src/b.py",
    ]


def test_environments_caches_and_build_output_are_passed_by(tree: MakeTree) -> None:
    tree("a.py", "env/pyvenv.cfg", "env/lib/x.py", ".venv/x.py", "__pycache__/x.py", "node_modules/m/x.py")
    tree("build/x.py", "dist/x.py", ".git/hooks/x.py", "pkg/site-packages/x.py", ".github/scripts/ok.py")
    assert found(".") == ["a.py", ".github/scripts/ok.py"]


def test_what_is_passed_by_is_walked_when_it_is_named(tree: MakeTree) -> None:
    tree("build/x.py", "env/pyvenv.cfg", "env/y.py")
    assert found("build", "env") == ["build/x.py", "env/y.py"]


def test_gitignore_counts_with_negation_and_the_innermost_file_decides(tree: MakeTree) -> None:
    root = tree("keep.py", "gen_a.py", "gen_b.py", "out/x.py", "sub/gen_c.py", "sub/special.py", "sub/y.py")
    (root / ".gitignore").write_text("gen_*.py\n!gen_b.py\n/out/\n", encoding="utf-8")
    (root / "sub/.gitignore").write_text("!gen_c.py\nspecial.py\n", encoding="utf-8")
    assert found(".") == ["gen_b.py", "keep.py", "sub/gen_c.py", "sub/y.py"]


def test_gitignore_of_the_repository_counts_in_its_folders_too(tree: MakeTree) -> None:
    root = tree("sub/deep/gen.py", "sub/deep/a.py", "sub/deep/local.py", ".git/HEAD")
    (root / ".gitignore").write_text("gen.py\n", encoding="utf-8")
    (root / ".git/info").mkdir()
    (root / ".git/info/exclude").write_text("local.py\n", encoding="utf-8")
    assert found("sub/deep") == ["sub/deep/a.py"]


def test_a_named_folder_that_git_ignores_is_walked(tree: MakeTree) -> None:
    root = tree("generated/a.py", ".git/HEAD")
    (root / ".gitignore").write_text("generated/\n", encoding="utf-8")
    assert found(".") == []
    assert found("generated") == ["generated/a.py"]


def test_we_agree_with_git_on_what_is_ignored(tree: MakeTree) -> None:
    root = tree("a.py", "x/b.py", "x/y/c.py", "x/y/d.py", "z/e.py", "z/f/e.py", "q/keep.py", "q/drop.py")
    lines = ["/a.py", "x/**/c.py", "e.py", "!z/f/e.py", "q/*", "!q/keep.py", "# comment", "", "foo\\", "!"]
    (root / ".gitignore").write_text("\n".join(lines), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "*.py"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    assert sorted(found(".")) == sorted(listed.stdout.split())


def test_a_gitignore_that_is_no_text_stops_nothing(tree: MakeTree) -> None:
    root = tree("a.py", "b.py")
    (root / ".gitignore").write_bytes(b"\xff\xfe\nb.py\n")
    assert found(".") == ["a.py"]


def test_exclude_patterns_hold_for_folders_files_and_what_is_named(tree: MakeTree) -> None:
    tree("a.py", "gen/b.py", "sub/gen/c.py", "sub/d_pb2.py")
    patterns = ["gen/", "*_pb2.py"]
    assert found(".", exclude=patterns) == ["a.py"]
    assert found("gen/b.py", "gen", "sub/d_pb2.py", "a.py", exclude=patterns) == [
        "gen/b.py-",
        "gen-",
        "sub/d_pb2.py-",
        "a.py",
    ]


def test_exclude_patterns_count_from_their_folder(tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("gen/a.py", "sub/gen/b.py")
    monkeypatch.chdir(root / "sub")
    assert found("..", exclude=["/gen/"], folder=root) == ["../sub/gen/b.py"]


def test_a_file_outside_of_the_patterns_folder_is_not_excluded(tree: MakeTree) -> None:
    root = tree("a.py", "sub/b.py")
    assert found("a.py", exclude=["*.py"], folder=root / "sub") == ["a.py"]


@pytest.mark.parametrize("pattern", ["!", "a\\"])
def test_a_pattern_that_is_none_is_a_settings_error(tree: MakeTree, pattern: str) -> None:
    tree("a.py")
    with pytest.raises(SettingsError, match=r"expected patterns as in a \.gitignore"):
        found(".", exclude=[pattern])


def test_a_glob_matches_files_at_its_depth(tree: MakeTree) -> None:
    tree("a.py", "test_a.py", "sub/test_b.py", "sub/c.py", "sub/deep/test_d.py")
    assert found("test_*.py") == ["test_a.py"]
    assert found("*/test_*.py") == ["sub/test_b.py"]
    assert found("**/test_*.py") == ["test_a.py", "sub/test_b.py", "sub/deep/test_d.py"]
    assert found("sub/[c-d].py") == ["sub/c.py"]


def test_a_glob_that_matches_a_folder_means_what_is_in_it(tree: MakeTree) -> None:
    tree("pkg_a/x.py", "pkg_a/deep/y.py", "other/z.py")
    assert found("pkg_*") == ["pkg_a/x.py", "pkg_a/deep/y.py"]


def test_a_glob_passes_by_what_a_walk_does(tree: MakeTree) -> None:
    tree("a.py", ".venv/b.py", "gen/c.py")
    assert found("**/*.py", exclude=["gen/"]) == ["a.py"]


def test_an_absolute_glob_works(tree: MakeTree) -> None:
    root = tree("x/a.py", "b.py")
    assert found(f"{root}/x/*.py") == [f"{root.as_posix()}/x/a.py"]


@pytest.mark.parametrize("pattern", ["*.py", "nowhere/*.py", "sub/**/*.py", "[.py", "**"])
def test_a_glob_without_a_match_is_a_problem(tree: MakeTree, pattern: str) -> None:
    tree("readme.txt")
    (only,) = find_files([pattern])
    assert only.problem == "no Python file matches"


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tree: MakeTree) -> None:
    tree("[x].py", "x.py")
    assert found("[x].py") == ["[x].py"]


def test_a_glob_that_can_not_be_one_is_a_problem(tree: MakeTree) -> None:
    tree("a.py")
    (only,) = find_files(["*\\"])
    assert only.problem is not None and only.problem.startswith("expected a path or a glob")


@pytest.mark.parametrize("name", ["missing", "missing.py", "a.py/below", "x" * 5000, "a\0b", ""])
def test_a_path_that_is_not_there_is_a_problem_and_the_others_are_found(tree: MakeTree, name: str) -> None:
    tree("a.py")
    listed = list(find_files([name, "a.py"]))
    assert listed[-1].path == Path("a.py") or name == ""
    if name:
        assert listed[0].problem


def test_links_to_folders_are_not_followed_so_that_no_circle_is_walked(tree: MakeTree) -> None:
    root = tree("sub/a.py", "other/b.py")
    (root / "sub/up").symlink_to(root, target_is_directory=True)
    (root / "sub/self").symlink_to(root / "sub/self")
    (root / "sub/linked").symlink_to(root / "other", target_is_directory=True)
    assert found("sub") == ["sub/a.py"]
    assert found("sub/linked") == ["sub/linked/b.py"]


def test_a_link_to_a_folder_that_is_called_as_a_file_is_left_alone(tree: MakeTree) -> None:
    root = tree("sub/a.py")
    (root / "link.py").symlink_to(root / "sub", target_is_directory=True)
    assert found(".") == ["sub/a.py"]


def test_a_link_that_leads_nowhere_is_left_to_the_reader_but_an_editors_lock_is_not_there(
    tree: MakeTree,
) -> None:
    root = tree("a.py")
    (root / "dead.py").symlink_to(root / "nowhere")
    (root / ".#a.py").symlink_to("me@host:1")
    assert found(".") == ["a.py", "dead.py"]
    assert found("dead.py") == ["dead.py"]


def test_a_folder_that_can_not_be_listed_is_a_problem_and_the_rest_goes_on(
    tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree("a.py", "locked/b.py", "open/c.py")
    scandir = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert found(".") == ["a.py", "locked!", "open/c.py"]
    assert "Permission denied" in str([each.problem for each in find_files(["locked"])])


def test_a_name_that_is_no_text_is_found(tree: MakeTree) -> None:
    root = tree("a.py")
    try:
        (Path(os.fsdecode(os.fsencode(root) + b"/\xff.py"))).touch()
    except OSError:
        pytest.skip("this file system takes text only")
    assert len(found(".")) == 2


def test_a_deep_tree_needs_no_deep_stack(tree: MakeTree) -> None:
    root = tree("a.py")
    folder = root
    for _ in range(200):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "deep.py").touch()
    assert len(found(".")) == 2


def test_nothing_named_is_nothing_found(tree: MakeTree) -> None:
    tree("a.py")
    assert found() == []
