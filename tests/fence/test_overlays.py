"""Overlays of older transformers: one that fits is looked through once, and again when a package was changed."""

import pytest

from pinfold.common.errors import UserError
from pinfold.fence import overlays


def package(directory, name: str, version: str, *needs: str) -> None:
    """What pip leaves of a package, as far as it is read."""
    place = directory / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def test_requirements_are_read_once_and_again_when_a_package_came_or_went(tmp_path, monkeypatch):
    asked, read = [], overlays._unsatisfied
    monkeypatch.setattr(overlays, "_unsatisfied", lambda target: asked.append(target) or read(target))
    directory = tmp_path / "4.50.0"
    package(directory, "transformers", "4.50.0", "packaging>=20")
    (directory / ".complete").write_text(overlays.PYTHON)
    for _ in range(3):
        assert overlays.find_overlay("4.50.0", tmp_path) == directory and overlays.is_made("4.50.0", tmp_path)
    assert asked == [directory]
    package(directory, "another", "1.0", "a-package-that-nobody-has")
    with pytest.raises(UserError, match=r"transformers 4\.50\.0 is not installed in "):
        overlays.find_overlay("4.50.0", tmp_path)
    (directory / ".complete").write_text("another Python")
    assert not overlays.is_made("4.50.0", tmp_path) and asked == [directory] * 2
