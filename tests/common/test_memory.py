"""Free memory, as the machine and the control groups of a container say it. The files are those of real systems."""

import pytest

from pinfold.common.memory import GIB, UNKNOWN, free_memory, total_memory

MEMINFO = "MemTotal:       65000000 kB\nMemFree:         1000000 kB\nMemAvailable:   {} kB\n"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def machine(root, gib=32):
    write(root, {"proc/meminfo": MEMINFO.format(gib * 2**20)})


def test_a_machine_without_a_limit_has_what_it_says(tmp_path):
    machine(tmp_path)
    write(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"})
    assert free_memory(tmp_path) == 32 * GIB


def test_a_system_that_says_nothing_has_the_guess(tmp_path):
    assert free_memory(tmp_path) == UNKNOWN


@pytest.mark.parametrize("group", ["/", "/docker/abc", "/../../outside"])
def test_a_containers_limit_counts(tmp_path, group):
    """In a container the topmost group is its own one, whatever /proc calls it."""
    machine(tmp_path)
    write(
        tmp_path,
        {
            "proc/self/cgroup": f"0::{group}\n",
            "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{GIB}\n",
        },
    )
    assert free_memory(tmp_path) == 3 * GIB


def test_the_cache_of_files_is_not_counted_as_used(tmp_path):
    machine(tmp_path)
    write(
        tmp_path,
        {
            "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file 5\n",
        },
    )
    assert free_memory(tmp_path) == 3 * GIB


def test_the_limit_of_any_group_above_counts(tmp_path):
    machine(tmp_path)
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/job.scope\n",
            "sys/fs/cgroup/user.slice/memory.max": f"{6 * GIB}\n",
            "sys/fs/cgroup/user.slice/memory.current": "0\n",
            "sys/fs/cgroup/user.slice/job.scope/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/job.scope/memory.current": "0\n",
        },
    )
    assert free_memory(tmp_path) == 6 * GIB


@pytest.mark.parametrize("group", ["/docker/abc", "/"])
def test_the_limit_of_the_first_version_of_control_groups_counts(tmp_path, group):
    machine(tmp_path)
    directory = f"sys/fs/cgroup/memory{group}".rstrip("/")
    write(
        tmp_path,
        {
            "proc/self/cgroup": f"11:cpu,cpuacct:/other\n9:memory:{group}\n1:name=systemd:/x\n",
            f"{directory}/memory.limit_in_bytes": f"{5 * GIB}\n",
            f"{directory}/memory.usage_in_bytes": f"{2 * GIB}\n",
            f"{directory}/memory.stat": f"cache 3\ntotal_inactive_file {GIB}\n",
        },
    )
    assert free_memory(tmp_path) == 4 * GIB


def test_a_group_of_the_first_version_without_a_limit_says_a_huge_number(tmp_path):
    machine(tmp_path)
    write(
        tmp_path,
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "5\n",
        },
    )
    assert free_memory(tmp_path) == 32 * GIB


def test_it_is_never_less_than_a_gibibyte(tmp_path):
    machine(tmp_path, gib=0)
    assert free_memory(tmp_path) == GIB


def test_all_of_the_memory_is_the_machines_or_the_containers_limit(tmp_path):
    assert total_memory(tmp_path) == UNKNOWN
    machine(tmp_path)
    assert total_memory(tmp_path) == 65_000_000 * 1024
    write(tmp_path, {"sys/fs/cgroup/memory.max": f"{4 * GIB}\n", "sys/fs/cgroup/memory.current": f"{3 * GIB}\n"})
    assert total_memory(tmp_path) == 4 * GIB
