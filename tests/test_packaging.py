"""What is shipped: the source archive is whole, the wheel runs on its own and leaves no trace."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.serving import ROOT

#: Never part of a checkout.
_NOT_SOURCE = shutil.ignore_patterns(
    ".git",
    "venv",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    "_trial_temp*",
    "_build",
    ".*_cache",
    ".hypothesis",
)

_TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"


def _run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def _needed(names: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """The distributions of these requirements and of theirs, as they are installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(name, "tls") for name in names]
    while waiting:
        name, extra = waiting.pop()
        distribution = importlib.metadata.distribution(name)
        if name in found:
            continue
        found[name] = distribution
        for requirement in distribution.requires or ():
            wanted, _, marker = requirement.partition(";")
            match = re.match(r"[A-Za-z0-9._-]+", wanted)
            assert match is not None
            # Extras other than tls, and what is for other machines, are not installed here and not needed.
            if "extra ==" in marker and f'"{extra}"' not in marker.replace("'", '"'):
                continue
            try:
                importlib.metadata.distribution(match[0])
            except importlib.metadata.PackageNotFoundError:
                continue
            waiting.append((match[0].lower(), ""))
    return found


def _copy(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    """Install it by copying: no index is asked, and nothing but it is there."""
    for file in distribution.files or ():
        # Scripts are outside, and other people's plugins (ours, when it is installed) are not Twisted's.
        if ".." in file.parts or "__pycache__" in file.parts or "test" in file.parts:
            continue
        source = Path(str(distribution.locate_file(file)))
        if source.is_file():
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "dropin.cache"
    }


class Packaging(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        source = self.folder / "source"
        shutil.copytree(ROOT, source, ignore=_NOT_SOURCE)
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", self.folder / "dist", cwd=source)
        (self.archive,) = (self.folder / "dist").glob("*.tar.gz")
        (self.wheel,) = (self.folder / "dist").glob("*.whl")

    def test_shipped(self) -> None:
        """The archive has all of the source; the wheel, made of it, has the packages and their data, and no
        tests."""
        with tarfile.open(self.archive) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for needed in (
            "README.rst", "LICENSE", "setup.cfg", "pyproject.toml", "tac/all.tac", "systemd/mailftp.service",
            "tests/test_packaging.py", "tests/bad_settings/several.expected",
            "docs/reference/settings.rst",
            "twisted/plugins/mailftp_plugin.py",
        ):  # fmt: skip
            self.assertIn(needed, names)
        self.assertFalse([name for name in names if name.endswith((".pyc", "dropin.cache"))])
        with zipfile.ZipFile(self.wheel) as wheel:
            inside = set(wheel.namelist())
        self.assertFalse([name for name in inside if name.startswith(("tests/", "docs/"))])
        ours = {str(path.relative_to(ROOT)) for path in (ROOT / "mailftp").rglob("*.py")}
        ours |= {str(path.relative_to(ROOT)) for path in (ROOT / "mailftp").rglob("*.sql")}
        self.assertEqual(ours - inside, set(), "setup.cfg's lists of packages and data are not complete")
        self.assertNotIn("twisted/plugins/__init__.py", inside)
        self.assertIn("twisted/plugins/mailftp_plugin.py", inside)

        self.install_and_remove()

    def install_and_remove(self) -> None:
        """In an environment that has its requirements alone: `twistd mailftp` and `mailftp` work, and after
        it was uninstalled Twisted is what it was."""
        environment = self.folder / "environment"
        _run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=self.folder)
        python = environment / "bin" / "python"
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = Path(_run(python, "-c", where, cwd=self.folder).strip())
        with zipfile.ZipFile(self.wheel) as wheel:
            (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
            required = re.findall(
                r"(?m)^Requires-Dist: ([A-Za-z0-9._-]+)[^;\n]*$", wheel.read(metadata).decode()
            )
        self.assertIn("twisted", {name.lower() for name in required})
        for distribution in _needed([name.lower() for name in required]).values():
            _copy(distribution, packages)
        before = _snapshot(packages)
        pip = (sys.executable, "-m", "pip", "--python", python)
        _run(*pip, "install", "--no-deps", "--no-index", "--no-compile", self.wheel, cwd=self.folder)
        self.assertIn(
            "No broken requirements",
            _run(sys.executable, "-m", "pip", "--python", python, "check", cwd=self.folder),
        )
        self.assertIn("mailftp", _run(python, "-c", _TWISTD, "--help", cwd=self.folder))
        self.assertIn("--config", _run(python, "-c", _TWISTD, "mailftp", "--help", cwd=self.folder))
        command = environment / "bin" / "mailftp"
        house = self.folder / "house"
        _run(command, "init", house, "--hostname", "mx.a.test", "--domain", "a.test", cwd=self.folder)
        _run(command, "check", "--config", house / "mailftp.toml", cwd=self.folder)
        _run(command, "account", "add", "bob", "--config", house / "mailftp.toml", cwd=self.folder)
        _run(*pip, "uninstall", "--yes", "mailftp", cwd=self.folder)
        self.assertEqual(_snapshot(packages), before)
        self.assertFalse(command.exists())
        help_text = _run(python, "-c", _TWISTD, "--help", cwd=self.folder)
        self.assertNotIn("mailftp", help_text)
        self.assertIn("conch", help_text)
