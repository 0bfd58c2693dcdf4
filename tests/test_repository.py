"""The shape of the repository: links, packaging, pins, the way in."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINKS = ("model", "kernels", "agents", "scenarios")


def direct_dependencies() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() for line in lines}


def pins() -> dict[str, str]:
    lines = (ROOT / "pins.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("name", LINKS)
def test_the_folder_is_reached_by_a_relative_link(name):
    link = ROOT / "mtsim" / name
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{name}"


@pytest.mark.parametrize("name", LINKS)
def test_git_keeps_the_link_as_a_link(name):
    listed = subprocess.run(
        ["git", "ls-files", "-s", f"mtsim/{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed.startswith("120000 ")


@pytest.mark.parametrize("name", LINKS)
def test_a_linked_folder_hides_no_installed_package(name):
    """Without `__init__.py` it is only a namespace, and a real package always wins over one."""
    assert not (ROOT / name / "__init__.py").exists()


def test_every_direct_dependency_is_pinned():
    assert direct_dependencies() <= set(pins())


def test_torch_is_pinned_to_the_release_with_a_cpu_build():
    assert pins()["torch"] == "2.13.0"


def test_no_cuda_package_is_pinned():
    assert not [name for name in pins() if name.startswith(("nvidia", "cuda"))]


def test_an_environment_without_a_gpu_has_no_cuda_package():
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("a GPU is here, so CUDA packages may be, too")
    assert not [line for line in listed.splitlines() if line.startswith(("nvidia-", "cuda-"))]


def test_ci_runs_exactly_what_a_newcomer_runs():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert script[-1] == "make test"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the working tree without touching it."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    copy = folder / "source"
    for name in filter(None, tracked.split("\0")):
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_file():
            target.write_bytes(source.read_bytes())
    for name in ("model", "kernels", "agents"):
        (copy / name / "probe.py").write_text("owner = 'mtsim'\n")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(copy)],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_one_top_level_name_and_carries_the_scenarios(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"mtsim"}
    shipped = {f"mtsim/scenarios/{file.name}" for file in (ROOT / "scenarios").glob("*.yaml")}
    assert shipped
    assert shipped <= set(names)
    mappings = (ROOT / "model" / "sources" / "mappings").glob("*.yaml")
    assert {f"mtsim/model/sources/mappings/{file.name}" for file in mappings} <= set(names)
    code = {f"mtsim/{name}" for name in ("py.typed", "cli/verbs/ls.py", "engine/book.py")}
    assert code <= set(names)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment outside the repository that has the wheel; dependencies come from this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel],
        check=True,
        capture_output=True,
    )
    # A stand-in for Hugging Face's `kernels`, a distribution that owns that top-level name.
    rival = target / "kernels"
    rival.mkdir()
    (rival / "__init__.py").write_text("owner = 'huggingface'\n")
    return folder


def run_elsewhere(installed, *arguments) -> str:
    # -S leaves out the .pth files, by which this checkout's own installation would be found.
    path = f"{installed / 'site'}:{sysconfig.get_path('purelib')}"
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd="/",
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_wheel_works_from_another_folder(installed):
    assert "mass_cancel" in run_elsewhere(installed, "-m", "mtsim", "ls", "scenarios")
    where = run_elsewhere(installed, "-c", "import mtsim; print(mtsim.__file__)")
    assert where.startswith(str(installed))


def test_the_wheel_and_another_owner_of_kernels_leave_each_other_alone(installed):
    program = "import kernels; from mtsim.kernels import probe; print(kernels.owner, probe.owner)"
    assert run_elsewhere(installed, "-c", program).split() == ["huggingface", "mtsim"]


@pytest.mark.parametrize("name", ["model", "agents"])
def test_the_wheel_carries_the_linked_folders_under_its_own_name(installed, name):
    program = f"from mtsim.{name} import probe; print(probe.__file__)"
    where = run_elsewhere(installed, "-c", program).strip()
    assert where == str(installed / "site" / "mtsim" / name / "probe.py")


def test_a_checkout_and_another_owner_of_kernels_leave_each_other_alone(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("owner = 'huggingface'\n")
    program = "import kernels; print(kernels.owner)"
    # The checkout comes first on the path, and still its bare folder does not win.
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path.parent,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "huggingface"
