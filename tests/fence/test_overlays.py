"""Overlays of older transformers: one that fits is looked through once, and again when a package was changed."""

import re

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


def whole(place, version: str) -> None:
    """An overlay as it is once it was made."""
    package(place / version, "transformers", version, "packaging>=20")
    (place / version / ".complete").write_text(overlays.PYTHON)


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user with data of their own, in a folder without any; the place for overlays."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return overlays.user_data("overlays")


def test_releases_are_found_from_every_folder(user, tmp_path, monkeypatch):
    assert not overlays.is_made("4.50.0") and overlays.overlays_directory() == user
    whole(user, "4.50.0")
    for name in ("one", "another/inside"):
        (tmp_path / name).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        assert overlays.find_overlay("4.50.0") == user / "4.50.0" and overlays.is_made("4.50.0")


def test_a_folder_that_keeps_its_own_comes_first_and_is_written_to(user, tmp_path):
    own = tmp_path / "work" / "runs" / "overlays"
    whole(user, "4.50.0")
    whole(user, "4.51.3")
    whole(own, "4.50.0")
    assert overlays.find_overlay("4.50.0") == own / "4.50.0"
    assert overlays.find_overlay("4.51.3") == user / "4.51.3"
    assert overlays.overlays_directory().absolute() == own


def test_what_is_missing_is_said_with_the_place_where_it_would_be(user, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=re.escape(f"not installed in {user}; install with: pinfold compat make 4.5")):
        overlays.find_overlay("4.50.0")
    made = []
    monkeypatch.setattr(
        overlays, "_install", lambda version, directory: (whole(directory.parent, version), made.append(directory))
    )
    assert overlays.make_overlay("4.50.0") == user / "4.50.0" == overlays.find_overlay("4.50.0")
    (tmp_path / "work" / "runs" / "overlays").mkdir(parents=True)
    assert overlays.make_overlay("4.50.0") == tmp_path / "work" / "runs" / "overlays" / "4.50.0" and len(made) == 2
