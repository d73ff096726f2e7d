"""The list of mounts: what it shows, in which order, and that both programs get all of it."""

import os
import socket
from pathlib import Path

import pytest

from pinfold.fence import mounting, mounts


@pytest.fixture
def disk(tmp_path):
    """A home with an environment in which pinfold is installed, a folder of the user's, and a place to write to."""
    for name in ("home/env/lib/pinfold/fenced", "home/env/bin", "home/folder/part", "home/secret", "work/scratch"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "python").touch()
    (tmp_path / "home" / "env" / "bin" / "python").symlink_to(tmp_path / "home" / "python")
    (tmp_path / "work" / "passwd").touch()
    return tmp_path


def planned(disk, needed=("home/folder",), packages=("home/env", "home/python", "home/env/bin/python")):
    package = disk / "home" / "env" / "lib" / "pinfold"
    return mounts.plan(
        [disk / name for name in needed],
        [disk / name for name in packages],
        package,
        package / "fenced",
        disk / "work" / "passwd",
        [disk / "work" / "scratch"],
    )


def shown(steps, kind):
    return [str(mount.target) for mount in steps if mount.kind == kind]


def test_it_is_a_list_of_what_is_allowed(disk):
    steps = planned(disk)
    own = {place for place in shown(steps, "read") if place.startswith(str(disk))}
    assert own == {
        str(disk / name) for name in ("home/env", "home/python", "home/folder", "home/env/lib/pinfold/fenced")
    }
    assert shown(steps, "write") == [str(disk / "work" / "scratch")]
    assert {"/tmp", "/run", "/dev/shm", "/var/tmp"} <= set(shown(steps, "empty"))
    assert not {"/", "/etc", "/home", "/root", "/var"} & {str(mount.target) for mount in steps}


def test_of_an_installed_package_one_folder_is_shown_and_a_checkout_is_not_shown_at_all(disk):
    steps = planned(disk)
    package = disk / "home" / "env" / "lib" / "pinfold"
    targets = [(mount.kind, mount.target) for mount in steps]
    order = [("read", disk / "home" / "env"), ("empty", package), ("read", package / "fenced")]
    assert sorted(targets.index(each) for each in order) == [targets.index(each) for each in order]
    apart = planned(disk, packages=("home/python",))
    assert str(package) not in shown(apart, "empty") and str(package / "fenced") in shown(apart, "read")


def test_what_lies_in_a_shown_directory_has_no_mount_of_its_own(disk):
    steps = planned(disk, needed=("home/folder/part", "home/folder", "home/env/bin"))
    assert str(disk / "home" / "folder" / "part") not in shown(steps, "read")
    assert str(disk / "home" / "env" / "bin") not in shown(steps, "read")
    assert str(disk / "home" / "env" / "bin" / "python") not in shown(steps, "link")


def test_links_lead_where_they_led(disk):
    (disk / "alias").symlink_to(disk / "home" / "folder")
    steps = planned(disk, needed=("alias",))
    assert mounts.Mount("link", disk / "alias", disk / "home" / "folder") in steps
    assert str(disk / "home" / "folder") in shown(steps, "read")


def test_sockets_and_pipes_are_covered_and_writable_places_come_last(disk):
    os.mkfifo(disk / "home" / "folder" / "part" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(disk / "home" / "folder" / "s"))
        steps = planned(disk)
    assert set(shown(steps, "hide")) == {str(disk / "home" / "folder" / name) for name in ("part/pipe", "s")}
    assert steps[-1] == mounts.Mount("write", disk / "work" / "scratch", disk / "work" / "scratch")


def test_both_programs_get_every_mount(disk):
    os.mkfifo(disk / "home" / "folder" / "pipe")
    steps = planned(disk)
    arguments = mounts.bubblewrap(steps, disk / "empty")
    orders = mounts.orders(steps, disk / "root", disk / "empty", True, disk)
    assert [target for _, target, _ in orders["mounts"]] == [str(mount.target) for mount in steps]
    assert all(str(mount.target) in arguments for mount in steps)
    assert arguments[-2:] != ["--bind", str(disk)] and arguments.count("--bind") == 1


def test_a_way_over_several_links_is_there_link_by_link(disk):
    (disk / "real").mkdir()
    (disk / "real" / "python").touch()
    (disk / "first").symlink_to("second")
    (disk / "second").symlink_to(disk / "real")
    (disk / "program").symlink_to("first/../first/python")
    steps = planned(disk, packages=("program",))
    links = {mount.target: mount.source for mount in steps if mount.kind == "link" and disk in mount.target.parents}
    assert links == {
        disk / "first": Path("second"),
        disk / "second": disk / "real",
        disk / "program": Path("first/../first/python"),
    }
    assert str(disk / "real" / "python") in shown(steps, "read")


def test_sockets_beside_packages_are_covered_too(disk):
    os.mkfifo(disk / "home" / "env" / "pipe")
    os.mkfifo(disk / "home" / "env" / "lib" / "pinfold" / "pipe")  # is not shown at all
    assert shown(planned(disk), "hide") == [str(disk / "home" / "env" / "pipe")]


@pytest.mark.parametrize("name", ["a b", "tab\tand\nline", "back\\slash", "\\040", "hash#", "é"])
def test_names_are_read_as_the_kernel_writes_them(name):
    special = {" ", "\t", "\n", "#", "\\"}
    written = "".join(f"\\{ord(letter):03o}" if letter in special else letter for letter in name)
    assert mounting.unescaped(os.fsencode(written)) == name
