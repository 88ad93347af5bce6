"""The wheel and the sdist: the same bytes from every clone, and nothing of what they must have left out."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
NPM_NAME = {"TradingView Lightweight Charts™": "lightweight-charts", "Preact": "preact", "fancy-canvas": "fancy-canvas"}


def built(folder: Path, umask: int, **environment: str) -> dict[str, bytes]:
    """What a clone of its own makes, on a system that is set up otherwise."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    (folder / "aggregator/left_over.py").write_text("not committed\n")
    command = [str(folder / "packaging/dist"), sys.executable, str(folder / "dist")]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    subprocess.run(command, check=True, env=env, umask=umask, cwd="/", capture_output=True)
    return {path.name: path.read_bytes() for path in (folder / "dist").iterdir()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    work = tmp_path_factory.mktemp("dist")
    one = built(work / "one", 0o022, TZ="UTC", LC_ALL="C", PYTHONHASHSEED="1")
    other = built(work / "two" / "elsewhere", 0o077, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="2")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
    return work / "one" / "dist"


def names_in_wheel(dist: Path) -> set[str]:
    (wheel,) = dist.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def names_in_sdist(dist: Path) -> set[str]:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_there_is_a_wheel_and_an_sdist_with_the_times_of_the_commit(dist: Path) -> None:
    assert sorted(path.suffix for path in dist.iterdir()) == [".gz", ".whl"]
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert {member.mtime for member in archive.getmembers()} == {int(said.stdout)}


def test_what_is_not_committed_is_in_neither(dist: Path) -> None:
    assert [name for name in names_in_wheel(dist) | names_in_sdist(dist) if "left_over" in name] == []


def test_the_page_is_in_both_as_it_is_built(dist: Path) -> None:
    page = {f"aggregator/web/{path.name}" for path in (ROOT / "aggregator/web").iterdir()}
    assert "aggregator/web/page.js" in page
    assert page - names_in_wheel(dist) == set()
    assert page - names_in_sdist(dist) == set()


def test_the_licences_are_in_both_and_beside_the_page(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        licences = metadata.replace("METADATA", "licenses/")
        assert archive.read(f"{licences}LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert archive.read(f"{licences}NOTICE") == (ROOT / "NOTICE").read_bytes()
        assert archive.read("aggregator/web/notice.txt") == (ROOT / "NOTICE").read_bytes()
        said = archive.read(metadata).decode()
    assert "License-Expression: Apache-2.0\n" in said
    assert re.findall("License-File: (.*)\n", said) == ["LICENSE", "NOTICE"]
    assert {"LICENSE", "NOTICE"} <= names_in_sdist(dist)


def test_the_sdist_has_everything_that_is_committed(dist: Path) -> None:
    said = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    committed = {name for name in said.stdout.split("\0") if name}
    links = {name for name in committed if (ROOT / name).is_symlink()}
    assert committed - links - names_in_sdist(dist) == set()


def test_the_notice_names_every_package_that_the_page_is_built_of() -> None:
    """What is bundled is what the lock of npm has beside tools."""
    lock = json.loads((ROOT / "web/package-lock.json").read_text())["packages"]
    bundled = {path.removeprefix("node_modules/") for path, said in lock.items() if path and not said.get("dev")}
    notice = (ROOT / "NOTICE").read_text()
    assert bundled == set(NPM_NAME.values())
    assert [title for title, name in NPM_NAME.items() if title not in notice or name not in bundled] == []
    assert "https://www.tradingview.com/" in notice
