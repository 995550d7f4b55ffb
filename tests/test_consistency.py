"""The repository agrees with itself: what it says, what it lists, what it promises of its code."""

import ast
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lib import plugins
from lib.artefacts import ROOT

TREE = {
    *("notebooks", "lib", "data", "figures", "environment.yml", "run_all.py", "tests", "README.md"),
    *("pyproject.toml", "LICENSE", "CITATION.cff", "CONTRIBUTING.md", ".ci", ".gitignore", "benchmarks"),
}
CONDA_NAMES = {
    "torch": ["pytorch"],
    "matplotlib": ["matplotlib-base"],
    "soundfile": ["pysoundfile"],
    "dask": ["dask-core", "distributed"],
}
README_LINES = 192
LARGEST_FILE = 1_000_000


def text(file):
    return (ROOT / file).read_text(encoding="utf-8")


def parsed(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def name(file):
    return file.relative_to(ROOT).as_posix()


LIB = sorted((ROOT / "lib").rglob("*.py"))
MODULES = [file for file in LIB if file.name != "__init__.py" and file.parent == ROOT / "lib"]
PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
README = text("README.md")


@pytest.fixture(scope="module")
def tracked():
    """Files that git keeps."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / file for file in done.stdout.split("\0") if (ROOT / file).is_file()]


# Dependencies


def test_conda_and_pip_ask_for_the_same():
    conda = yaml.safe_load(text("environment.yml"))["dependencies"]
    (from_pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    conda = {r.name: r.specifier for r in map(Requirement, filter(lambda e: isinstance(e, str), conda))}
    assert from_pip[-1] == "-e ."
    from_pip = {r.name: r.specifier for r in map(Requirement, from_pip[:-1])}
    assert str(conda.pop("python")).split(",")[-1] == PROJECT["requires-python"]
    assert str(conda.pop("pip")) == ""
    expected = {}
    for wanted in map(Requirement, PROJECT["dependencies"]):
        for there in (
            [wanted.name] if wanted.name in from_pip else CONDA_NAMES.get(wanted.name, [wanted.name])
        ):
            expected[there] = wanted.specifier
    assert conda | from_pip == expected


def test_tested_versions_are_in_range():
    lines = [line for line in text(".ci/constraints.txt").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines), "only `name==version`"
    versions = {plain(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(versions) == len(lines)
    extras = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *extras]):
        assert versions[plain(wanted.name)] in wanted.specifier, wanted


def test_tested_versions_take_the_oldest_python():
    (bound,) = SpecifierSet(PROJECT["requires-python"])
    oldest = Version(f"{bound.version}.0")  # as it was released: a package may ask for 3.11.5
    lines = [line for line in text(".ci/constraints.txt").splitlines() if not line.startswith("#")]
    tested = {(plain(r.name), str(r.specifier)) for r in map(Requirement, lines)}
    # At the ends of the ranges other versions are installed, which are not asked.
    found = [d for d in importlib.metadata.distributions() if (plain(d.name), f"=={d.version}") in tested]
    assert len(found) > 50
    asked = {d.name: SpecifierSet(d.metadata.get("Requires-Python") or "") for d in found}
    assert [name for name, python in asked.items() if oldest not in python] == []


def test_lowest_versions_are_the_lower_bounds():
    lines = [line for line in text(".ci/constraints-lowest.txt").splitlines() if not line.startswith("#")]
    lowest = {plain(r.name): str(r.specifier) for r in map(Requirement, lines)}
    extras = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *extras]):
        (bound,) = [part for part in wanted.specifier if part.operator in (">=", "==")]
        (pinned,) = SpecifierSet(lowest[plain(wanted.name)])
        assert pinned.operator == "=="
        assert Version(pinned.version) == Version(bound.version), wanted


def plain(package):
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def test_what_is_imported_is_declared():
    declared = {plain(Requirement(r).name) for r in PROJECT["dependencies"]}
    modules = {"scikit-learn": "sklearn", "scikit-image": "skimage", "pillow": "PIL", "dask": "distributed"}
    declared = {modules.get(package, package.replace("-", "_")) for package in declared}
    # What papermill, pooch and ipywidgets are built on, and hand on.
    declared |= {"jupyter_client", "traitlets", "requests", "IPython"}
    found = {top for file in [*LIB, ROOT / "run_all.py"] for top in imported(parsed(file))}
    assert found - set(sys.stdlib_module_names) - {"lib", "run_all"} <= declared


def imported(tree):
    """First parts of the names of all modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_version_to_cite_is_that_of_the_package():
    cite = yaml.safe_load(text("CITATION.cff"))
    assert cite["version"] == PROJECT["version"]
    assert cite["license"] == PROJECT["license"] == "MIT"
    assert text("LICENSE").startswith("MIT License")


# README


def table(heading):
    """Rows of README's table whose first column has a heading, as lists of cells."""
    found = re.search(rf"^\| *{heading} *\|.*\n\|[-| :]+\|\n((?:\|.*\n?)+)", README, re.M)
    assert found, f"README has no table of {heading}s"
    return [[cell.strip() for cell in row.strip("| ").split("|")] for row in found[1].splitlines()]


def test_links_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md", "data/README.md"):
        prose = re.sub(r"```.*?```", "", text(page), flags=re.S)
        links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)", prose) if "://" not in link]
        dead = [link for link in links if link and not ((ROOT / page).parent / link).exists()]
        assert dead == [], page


def test_readme_is_short():
    assert len(README.splitlines()) <= README_LINES


def test_readme_lists_the_notebooks():
    listed = [row[0] for row in table("notebook")]
    there = sorted(file.stem for file in (ROOT / "notebooks").glob("*.ipynb"))
    assert listed == [f"[{stem}](notebooks/{stem}.ipynb)" for stem in there]


def test_readme_lists_the_figures():
    drawn = re.findall(r'save_figure\(.*folder / \\"(\w+)\\"', text("notebooks/08_figures.ipynb"))
    assert drawn
    listed = [figure for row in table("figure") for figure in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(drawn)
    for figure in drawn:
        assert f"**Figure `{figure}`.**" in text("notebooks/08_figures.ipynb")


def test_readme_lists_the_targets():
    listed = [found for row in table("target") for found in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == plugins.names("target")


def test_readme_lists_the_models_and_how_many_each_family_has():
    listed = [found for row in table("model") for found in re.findall(r"`(\w+)`(?: \((\d+)\))?", row[0])]
    files = list((ROOT / "lib" / "models").glob("[!_]*.py"))
    families = {file.stem: len(plugins.constants(file).get("VARIANTS", ())) for file in files}
    assert sorted(listed) == sorted((name, str(n) if n else "") for name, n in families.items())


@pytest.mark.parametrize("what", ["run", "test"])
def test_readme_holds_the_command(what):
    (block,) = re.findall(rf"<!-- {what} command -->\n```\w*\n(.*?)```", README, re.S)
    assert README.count(f"<!-- {what} command -->") == 1
    # Everything that the commands name exists: files, and the extra.
    assert "-c .ci/constraints.txt -e" in block
    assert ("run_all.py" if what == "run" else "[test]") in block


def test_ci_does_what_the_readme_says():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert "<!-- test command -->" in script.read_text(encoding="utf-8")


# Files


def test_top_level_is_the_agreed_one(tracked):
    assert {file.relative_to(ROOT).parts[0] for file in tracked} == TREE


def test_no_module_is_a_drawer():
    assert not {file.stem for file in LIB} & {"utils", "helpers", "common", "misc", "tools"}


def test_gitignore_spares_the_code_and_not_the_results(tracked):
    assert tracked
    code = [*LIB, *(ROOT / "lib").rglob("*.csv"), *(ROOT / "notebooks").glob("*.ipynb")]
    code += [
        ROOT / "data/locked.csv",
        ROOT / "lib/models/new.py",
        ROOT / "lib/datasets/new.files.csv",
        ROOT / "tests/test_new.py",
    ]
    results = [
        *("data/raw/a.org/a.wav", "data/encode/a/b/scores.nc", "data/encode/a/b/run.json"),
        *("figures/components.pdf", "figures/run.json", "figures/run.ipynb"),
    ]
    asked = "\n".join([*map(name, code), *results])
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT, input=asked, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == results


def test_files_are_small(tracked):
    assert [name(file) for file in tracked if file.stat().st_size > LARGEST_FILE] == []


def test_no_file_names_a_machine_or_a_package_index(tracked):
    # Written in parts, so that this file does not hold them.
    folders = "|".join(["work", "tmp", "root", "home/\\w+", "Users/\\w+", "scratch", "mnt"])
    hosts = "|".join(
        ["pypi" + r"\.", "python" + "hosted", "anaconda" + r"\.(org|com)", "--(extra-)?index" + "-url"]
    )
    bad = re.compile(rf"(?<![\w.>\])}}])/({folders})/|{hosts}")
    found = {}
    for file in tracked:
        content = file.read_bytes()
        if b"\0" not in content and (hit := bad.search(content.decode("utf-8", "ignore"))):
            found[name(file)] = hit[0]
    assert found == {}


def test_no_pickle_is_kept(tracked):
    assert [
        name(f) for f in tracked if f.suffix in (".pkl", ".pickle", ".pt", ".pth", ".npy", ".joblib")
    ] == []


def test_style_is_kept(tracked):
    files = [name(file) for file in tracked if file.suffix in (".py", ".ipynb")]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [*ruff, *command, *files], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


# Library: what it must never do


FORBIDDEN = {
    **dict.fromkeys(("print", "input", "exec", "eval", "breakpoint"), "speaks, asks or runs text"),
    **dict.fromkeys(("plt.show", "matplotlib.use", "sns.set_theme", "plt.style.use"), "sets or shows plots"),
    **dict.fromkeys(("np.random.seed", "random.seed", "np.random.RandomState.seed"), "seeds globally"),
    **dict.fromkeys(("os.chdir", "os.getcwd", "Path.cwd", "os.getlogin", "getpass.getuser"), "knows a place"),
    **dict.fromkeys(("pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "torch.save"), "pickles"),
}
MODULES_FORBIDDEN = {"argparse", "pickle", "joblib", "dill", "multiprocessing", "getpass", "shelve"}


def faults(tree):
    """What a module does that the library must not do, as sentences."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from call_faults(node)
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield "imports *"
        elif isinstance(node, ast.ExceptHandler):
            if node.type is None or ast.unparse(node.type) == "BaseException":
                yield "catches everything"
            if all(isinstance(part, ast.Pass) for part in node.body):
                yield "hides an error"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield "touches sys.path"
        elif isinstance(node, ast.Global):
            yield f"changes the global {', '.join(node.names)}"
    yield from (f"imports {module}" for module in set(imported(tree)) & MODULES_FORBIDDEN)
    for node in tree.body:  # work at import
        plain_statement = (
            ast.Import,
            ast.ImportFrom,
            ast.Assign,
            ast.AnnAssign,
            ast.FunctionDef,
            ast.ClassDef,
        )
        says = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not isinstance(node, plain_statement) and not says:
            yield f"works at import: {ast.unparse(node).splitlines()[0]}"


def call_faults(node):
    """What is wrong with a call."""
    called, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
    if called in FORBIDDEN:
        yield f"{called}: {FORBIDDEN[called]}"
    if called.endswith("torch.load") and options.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if options.get("allow_pickle", "False") != "False":
        yield "unpickles arrays"
    if called.rpartition(".")[2] in ("loadmat", "extractall", "extract_all", "unpack_archive"):
        yield f"{called}: trusts a file; there are lib.matfiles and lib.archives"


# The library's one setting of another package, which makes a mismatch of stimuli an error everywhere.
ALLOWED = {("lib/artefacts.py", "works at import: xr.set_options(arithmetic_join='exact')")}


@pytest.mark.parametrize("file", LIB, ids=name)
def test_library_keeps_its_hands_to_itself(file):
    found = [fault for fault in faults(parsed(file)) if (name(file), fault) not in ALLOWED]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        *("print(1)", "import argparse", "from os.path import *", "os.chdir('/')", "np.random.seed(0)"),
        *("try:\n f()\nexcept:\n g()", "try:\n f()\nexcept ValueError:\n pass", "sys.path.append('.')"),
        *("def f():\n global a", "for i in a:\n f()", "np.load(f, allow_pickle=True)", "torch.load(f)"),
        *("scipy.io.loadmat(f)", "tarfile.open(f).extractall(a)", "shutil.unpack_archive(f)"),
    ],
)
def test_what_is_forbidden_is_found(code):
    assert list(faults(ast.parse(code)))


@pytest.mark.parametrize("file", LIB, ids=name)
def test_no_plugin_is_treated_by_name(file):
    known = {value for kind in plugins.FOLDERS for value in plugins.catalogue(kind)}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Compare):
            constants = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
            assert not {c for c in constants if isinstance(c, str)} & known, ast.unparse(node)


def test_random_numbers_of_torch_stay_inside():
    for file in LIB:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef) and "manual_seed(" in (body := ast.unparse(node)):
                assert "fork_rng(" in body or "Generator(" in body, f"{name(file)}: {node.name}"


def test_runner_starts_without_torch():
    code = "import run_all, sys; sys.exit('torch' in sys.modules or 'papermill' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Library: what it says of itself


def functions(tree):
    """Public functions and methods of a module, each with its arguments and whether it is a method."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node, arguments(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for part in node.body:
                # `extra_repr` is torch's, and documented there.
                if isinstance(part, ast.FunctionDef) and part.name != "extra_repr" and part.name[0] != "_":
                    yield f"{node.name}.{part.name}", part, arguments(part)[1:]


def arguments(node):
    """Names of a function's arguments, in order."""
    a = node.args
    return [x.arg for x in (*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg) if x]


PUBLIC = [
    pytest.param(node, given, id=f"{name(file)}:{title}")
    for file in LIB
    for title, node, given in functions(parsed(file))
]


def sections(node):
    """Sections of a numpydoc docstring, by name; what stands before the first is "Summary"."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.cleandoc(ast.get_docstring(node) or ""), flags=re.M)
    return {"Summary": parts[0].strip()} | dict(zip(parts[1::2], parts[2::2], strict=True))


def own(node):
    """All nodes of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from own(child)


@pytest.mark.parametrize("file", [*LIB, ROOT / "run_all.py"], ids=name)
def test_module_says_what_it_is_in_a_sentence(file):
    said = ast.get_docstring(parsed(file)) or ""
    assert said.split("\n\n")[0].endswith("."), "the docstring opens with one sentence"


@pytest.mark.parametrize(("node", "given"), PUBLIC)
def test_function_says_what_it_takes_gives_and_raises(node, given):
    said = sections(node)
    assert said["Summary"], "no docstring"
    assert said["Summary"].split("\n\n")[0].endswith((".", ":")), "the summary is not a sentence"
    if len(given) > 1 or "Parameters" in said:
        documented = re.findall(r"^(\S.*)$", said.get("Parameters", ""), re.M)
        documented = [n.strip(" *") for line in documented for n in line.split(" : ")[0].split(",")]
        assert documented == given
        gives = any(isinstance(part, ast.Return) and part.value is not None for part in own(node))
        assert not gives or {"Returns", "Yields"} & set(said) or len(given) < 2, "Returns is missing"
    for part in own(node):
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
            assert ast.unparse(part.exc.func) in said.get("Raises", ""), "an error it raises is not listed"


@pytest.mark.parametrize(("node", "given"), PUBLIC)
def test_function_is_named_by_what_it_is(node, given):
    assert not re.match(r"(get|do|run|compute|calculate|process|handle)_", node.name)
    assert not {"param", "args", "kwargs", "flag", "n_targets"} & set(given)


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_module_has_a_caller_and_a_test(file):
    def uses(other):
        return file in set(used(other))

    others = [*LIB, *(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "benchmarks").glob("*.py")]
    # A person's plug-ins are callers too, as CONTRIBUTING.md shows them.
    callers = [o for o in (*others, ROOT / "run_all.py", ROOT / "CONTRIBUTING.md") if o != file and uses(o)]
    assert callers, "nothing but itself uses it"
    assert [test for test in (ROOT / "tests").glob("test_*.py") if uses(test)], "no test imports it"


def used(file):
    """Modules of lib that a module, notebook or page imports, on one line or between brackets."""
    text = file.read_text("utf-8")
    if file.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.read(file, 4).cells)
    found = re.findall(r"from lib(?:\.\w+)* import (?:\([^)]*\)|[^\n]*)|from lib\.\w+|import lib\.\w+", text)
    for word in {word for line in found for word in re.findall(r"\w+", line)}:
        yield Path(ROOT / "lib" / f"{word}.py")
