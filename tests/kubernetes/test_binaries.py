"""Where the control plane's binaries come from: `find_binaries` and `kubernetes/build.sh` agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ovnbridge.lab.kubernetes import ALL, ESSENTIAL, VERSION, find_binaries

SOURCE = Path(__file__).parents[2] / "kubernetes"


def make_binaries(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def test_the_version_is_the_one_that_is_built() -> None:
    required = re.findall(r"^\s*k8s\.io/kubernetes (\S+)", (SOURCE / "control-plane/go.mod").read_text(), re.MULTILINE)
    assert required == [VERSION]
    staging = set(re.findall(r"=> k8s\.io/\S+ (\S+)", (SOURCE / "control-plane/go.mod").read_text()))
    assert staging == {VERSION.replace("v1.", "v0.")}


def test_the_environment_comes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVNBRIDGE_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert find_binaries() is None
    cache = make_binaries(tmp_path / "kubernetes" / VERSION, *ALL)
    assert find_binaries() == cache
    assert find_binaries("v1.0.0") is None
    # What setup-envtest installs has no controller-manager and no scheduler.
    assets = make_binaries(tmp_path / "assets", *ESSENTIAL)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert find_binaries() == assets
    assert find_binaries(names=ALL) == cache
    (assets / "etcd").chmod(0o644)
    assert find_binaries() == cache


def build(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(SOURCE / "build.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_build_and_find_binaries_mean_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVNBRIDGE_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    printed = build("--print").stdout.strip()
    assert find_binaries() is None
    assert find_binaries(names=ALL) != make_binaries(Path(printed), *ALL[:-1])
    (Path(printed) / ALL[-1]).touch(mode=0o755)
    assert find_binaries(names=ALL) == Path(printed)


def test_build_says_that_go_is_missing(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("awk", "cat", "date", "dirname", "flock", "grep", "head", "mkdir", "sed", "sh", "sort"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    done = build(PATH=str(tools), OVNBRIDGE_CACHE=str(tmp_path / "cache"))
    assert done.returncode != 0
    assert "go is not installed" in done.stderr


@pytest.mark.real_kubernetes
@pytest.mark.skipif(find_binaries(names=ALL) is None, reason="the real control plane is not built: run `make kube`")
def test_a_second_build_builds_nothing_and_needs_no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    if find_binaries(names=ALL) is None:
        pytest.skip("the binaries are not in the cache")
    done = build(PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert "nothing to build" in done.stdout
