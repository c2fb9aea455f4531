"""The package as a whole: its names, its table, its independence, and its compiled kernels."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import autossl.proxies as package

ROOT = Path(__file__).parents[1]


def run(code: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    settings |= {"PYTHONPATH": str(cwd)} | environment
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=settings, capture_output=True, text=True)


def test_all_names_are_there() -> None:
    assert sorted(package.__all__) == sorted(set(package.__all__))
    assert all(hasattr(package, name) for name in package.__all__)


def test_neither_torch_nor_the_engine_is_imported() -> None:
    allowed = {"numpy", "scipy", "sklearn", "numba", "threadpoolctl", "autossl.proxies"} | sys.stdlib_module_names
    for path in (ROOT / "proxies").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert {name.split(".")[0], ".".join(name.split(".")[:2])} & allowed, f"{path.name} imports {name}"


def test_the_folder_is_not_a_package_of_its_own() -> None:
    found = run("import proxies")
    assert found.returncode != 0
    assert "import autossl.proxies" in found.stderr


def test_the_table_has_one_row_a_score_with_a_range_and_a_source() -> None:
    names = [row.name for row in package.PROXIES]
    assert len(names) == len(set(names))
    assert all(row.low < row.high and row.words and row.paper for row in package.PROXIES)


def test_warm_up_leaves_nothing_to_compile() -> None:
    code = """
import importlib, numpy as np, autossl.proxies as p
p.warm_up()
names = ("neighbours", "knn", "logistic", "leave_out", "metrics", "dimension")
names += ("resampled", "knn_values", "retrieval", "objects")
modules = [importlib.import_module("autossl.proxies." + m) for m in names]
kernels = [f for m in modules for f in vars(m).values() if hasattr(f, "signatures")]
before = sum(len(k.signatures) for k in kernels)
rng = np.random.default_rng(0)
z, y, g = rng.normal(size=(700, 20)).astype(np.float32), rng.integers(0, 3, 700), rng.integers(0, 50, 700)
p.knn_votes(z, y, z, classes=3); p.knn_votes(z, y, classes=3, groups=g, balanced=False)
p.ridge(z, y, g, classes=3); p.ridge(z[:15], z[:15, 0])
p.logistic(z, y, g, classes=3); p.logistic(z, y, np.zeros(700), classes=3)
p.panel(z, y, g, scores="all", draws=5); p.panel(z, z[:, 0], g, task="regression", draws=5)
p.panel(z.reshape(70, 10, 1, 20), y.reshape(70, 10, 1), task="detection", draws=5)
p.panel(z.reshape(70, 10, 20), y.reshape(70, 10), task="segmentation", draws=5)
p.bootstrap(y, z[:, :3], g, metrics=('accuracy',)); p.collapse(z); p.spectrum(z)
print(before > 6, sum(len(k.signatures) for k in kernels) - before)"""
    found = run(code)
    assert found.stdout.strip() == "True 0", found.stderr


def test_kernels_are_kept_in_the_users_folder_where_the_package_is_read_only(tmp_path: Path) -> None:
    copy, home = tmp_path / "site" / "autossl", tmp_path / "home"
    shutil.copytree(ROOT / "proxies", copy / "proxies", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__init__.py").touch()
    (
        copy / "proxies" / "__pycache__"
    ).touch()  # a file in the folder's place: nothing can be written there, even by root
    home.mkdir()
    code = """
import importlib, numpy as np
from autossl.proxies import macro_auroc
macro_auroc([0, 1, 0], np.eye(3)[:, :2])
kernel = importlib.import_module("autossl.proxies.metrics")._area
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))"""
    found = [run(code, copy.parent, HOME=str(home), XDG_CACHE_HOME=str(home)) for _time in range(2)]
    assert [f.stdout.split() for f in found] == [["0", "1"], ["1", "0"]], found[0].stderr
    assert list(home.rglob("*.nbi"))
