"""Each notebook as Colab runs it, without Colab: make colab.

Alone in an empty folder of a machine with Colab's versions, it fetches the project from a repository that stands in for
the published one, and runs from top to bottom with smoke parameters. The machine is an environment in .colab/, which
stays for the next time; what a notebook installs goes into one of its own on top.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from helpers import paths
from helpers.files import read_json
from helpers.notebook.run import declared

PYTHON = "3.13"  # Colab's
HERE = Path(__file__).parent
HOME = "https://github.com/some-body/some-digits"
NAMES = [path.stem for path in sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))]
SMOKE = yaml.safe_load((paths.NOTEBOOKS / "params" / "smoke.yml").read_text(encoding="utf-8"))
OURS = ("PYTHON", "OUTPUTS_DIR", "MPLBACKEND", "TF_", "COV", "VIRTUAL_ENV")  # variables that Colab does not have
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def run(*command, cwd, **variables) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=CLEAN | variables, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def packages_of(python) -> str:
    """Where an interpreter looks for packages."""
    return run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=HERE)


@pytest.fixture(scope="session")
def machine(aloud):
    """The packages of Colab's machine, as the folder that holds them, and an interpreter that has them."""
    try:  # pyenv's command needs the variable
        python = run(
            f"python{PYTHON}", "-c", "import sys, ensurepip; print(sys.executable)", cwd=HERE, PYENV_VERSION=PYTHON
        )
    except (OSError, AssertionError):
        python = sys.executable
        aloud(f"Python {PYTHON}, which Colab has, is not here: {sys.version.split()[0]} stands in.")
    pins = ["-c", HERE / "constraints.txt", "-r", HERE / "packages.txt"]
    content = b"".join(file.read_bytes() for file in pins[1::2]) + run(python, "-VV", cwd=HERE).encode()
    folder = paths.ROOT / ".colab" / hashlib.sha256(content).hexdigest()[:12]
    inside = folder / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        started = time.monotonic()
        run(python, "-m", "venv", folder, cwd=HERE)
        run(inside, "-m", "pip", "install", "-q", "--no-compile", *pins, cwd=HERE)
        (folder / "ready").touch()
        aloud(f"Colab's packages were installed in {time.monotonic() - started:.0f} s.")
    return inside, packages_of(inside)


@pytest.fixture(scope="session")
def aloud(request):
    """A function that says something aloud, whatever pytest captures."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(sentence):
        with capture.global_and_fixture_disabled():
            print(f"\n{sentence}")

    return say


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The project as it is here, published: the folder of its notebooks, and the variables that lead git to it."""
    base = tmp_path_factory.mktemp("published")
    work, bare = base / "work", base / "bare.git"
    for name in run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=paths.ROOT).strip("\0").split("\0"):
        if (paths.ROOT / name).is_file():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths.ROOT / name, work / name)
    file = work / "pyproject.toml"
    text, count = re.subn(
        r"^(# )?Repository = .*", f'Repository = "{HOME}"', file.read_text("utf-8"), flags=re.MULTILINE
    )
    assert count == 1
    file.write_text(text, encoding="utf-8")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    run(*git, "init", "-q", cwd=work)
    for message in ("code", "address"):  # in the order that CONTRIBUTING.md tells
        run(*git, "add", "-A", cwd=work)
        run(*git, "commit", "-qm", message, cwd=work)
        run(sys.executable, "-m", "tools.address", cwd=work, PYTHONPATH=str(work))
    assert run(*git, "status", "--short", cwd=work) == ""  # the second time it changed nothing
    run(*git, "clone", "-q", "--bare", work, bare, cwd=base)
    git_config = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{bare.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": HOME,
    }
    return work / "notebooks", git_config | {"COLAB_RELEASE_TAG": "release-colab"}


@pytest.fixture
def execute(machine, published, tmp_path):
    """A function that executes a notebook with Colab's packages in an empty folder, and gives what it became."""
    (folder := tmp_path / "content").mkdir()
    inside = tmp_path / "machine" / "bin" / "python"
    run(machine[0], "-m", "venv", "--without-pip", tmp_path / "machine", cwd=tmp_path)
    Path(packages_of(inside), "colab.pth").write_text(f"import site; site.addsitedir({machine[1]!r})\n")

    def execute(nb, *options, **variables):
        nbformat.write(nb, folder / "it.ipynb")
        command = [inside, "-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done", *options, "it.ipynb"]
        run(*command, cwd=folder, **published[1] | variables)
        return nbformat.read(folder / "done.ipynb", as_version=4)

    return execute, folder


def outputs(nb, kind):
    """The outputs of one kind: error, or stdout or stderr."""
    return [
        output
        for cell in nb.cells
        for output in cell.get("outputs", [])
        if kind in (output.output_type, output.get("name"))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opened_alone_runs(execute, published, name):
    execute, folder = execute
    nb = nbformat.read(published[0] / f"{name}.ipynb", as_version=4)
    assert HOME in nb.cells[2].source
    own = re.findall(r"^([A-Z_]+) = ", nb.cells[3].source, re.MULTILINE)
    smoke = "\n".join(f"{key} = {value!r}" for key, value in SMOKE.items() if key in own)
    nb.cells.insert(4, nbformat.v4.new_code_cell(smoke))
    done = execute(nb)
    assert done.cells[2].outputs == [] and outputs(done, "error") == outputs(done, "stderr") == []
    said = "".join(output.text for output in outputs(done, "stdout"))
    needs = [need for need in declared(nb.cells[1].source, "Needs") if not need.startswith(("data/", "outputs/"))]
    assert sorted(re.findall(r"^(\S+) of the default run is used", said, re.MULTILINE)) == sorted(needs)
    run_ = folder / "handwritten-digits" / "outputs" / "latest"
    for file in declared(nb.cells[1].source, "Makes"):
        assert (run_ / file).is_file()
    versions = read_json(run_ / "manifest.json")["packages"]
    pins = (line.split("==") for line in (HERE / "packages.txt").read_text("utf-8").splitlines() if "==" in line)
    assert {package: version for package, version in pins if versions.get(package, version) != version} == {}


@pytest.mark.parametrize(
    ("helpers", "variables", "sentence"),
    [
        ("mine = 1", {}, r"Stopped: Your file or folder 'helpers' hides the project's: rename it, restart the kernel."),
        ("", {"GIT_CONFIG_COUNT": "0", "https_proxy": "http://127.0.0.1:9"}, r"Stopped: Not fetched; .*switch Internet on\)\. fatal: .*"),
    ],
    ids=["helpers of one's own", "no network"],
)  # fmt: skip
def test_what_can_go_wrong_is_one_sentence(execute, published, helpers, variables, sentence):
    execute, folder = execute
    if helpers:
        (folder / "helpers.py").write_text(helpers, encoding="utf-8")
    nb = nbformat.read(published[0] / f"{NAMES[0]}.ipynb", as_version=4)
    nb.cells = nb.cells[2:3]
    [error] = outputs(execute(nb, "--allow-errors", **variables), "error")
    assert len(error.traceback) == 1 and re.fullmatch(sentence, error.traceback[0])


PAD = """
from helpers.notebook.pad import DrawingPad, uploaded_files
pad = DrawingPad(None)
pad.button.set_state({"data": [memoryview(b"1")], "metadata": [{"name": "a.png"}], "_counter": 1})
print(uploaded_files(pad), pad.answer["name"])
"""


def test_the_pad_lives_on_colabs_widgets(machine, published):
    said = run(machine[0], "-c", PAD, cwd=published[0].parent)
    assert said == "[('a.png', b'1')] a.png"
