"""Reuse of freed memory."""

import os
import platform
import subprocess
import sys

import pytest

from msgformer.cli import main as cli
from msgformer.utils import freed_memory
from msgformer.utils.freed_memory import LARGE_PAGES, MAX_BEFORE_2_35, MAX_THRESHOLD, MMAP_THRESHOLD, TRIM_THRESHOLD

COUNT_PAGES = """
import resource
import torch
from msgformer import freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**25)  # 128 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.ones(2**25)
print(pages())
freed_memory.keep_freed_memory()
torch.ones(2**25)
print(min(pages() for _ in range(3)))  # the system may reclaim memory in between
"""


@pytest.fixture
def calls(monkeypatch):
    """Record the calls of mallopt without changing settings; ``most`` is the maximum that it accepts."""

    class Calls(list):
        most = MAX_THRESHOLD

    made = Calls()

    def mallopt(parameter, value):
        made.append((parameter, value))
        return int(parameter == TRIM_THRESHOLD or value <= made.most)

    monkeypatch.setattr(freed_memory, "_mallopt", lambda: mallopt)
    monkeypatch.setattr(os, "environ", {})
    return made


def test_the_command_line_keeps_freed_memory(calls):
    assert cli.main(["--version"]) == 0
    assert calls == [(MMAP_THRESHOLD, MAX_THRESHOLD), (TRIM_THRESHOLD, MAX_THRESHOLD)]
    assert os.environ[LARGE_PAGES] == "1"


def test_an_older_library_has_a_lower_maximum(calls):
    calls.most = MAX_BEFORE_2_35
    freed_memory.keep_freed_memory()
    assert calls == [
        (MMAP_THRESHOLD, MAX_THRESHOLD),
        (MMAP_THRESHOLD, MAX_BEFORE_2_35),
        (TRIM_THRESHOLD, MAX_THRESHOLD),
    ]


@pytest.mark.parametrize("name", freed_memory.USER_VARIABLES)
def test_user_settings_are_not_changed(name, calls):
    os.environ[name] = "1"
    freed_memory.keep_freed_memory()
    assert not calls


def test_the_users_setting_of_huge_pages_is_not_changed(calls):
    os.environ[LARGE_PAGES] = "0"
    freed_memory.keep_freed_memory()
    assert os.environ[LARGE_PAGES] == "0"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_page_faults_happen_once():
    environment = {key: value for key, value in os.environ.items() if key not in freed_memory.USER_VARIABLES}
    script = [sys.executable, "-c", COUNT_PAGES]
    done = subprocess.run(script, env={**environment, LARGE_PAGES: "1"}, check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 2  # the first may have to be faulted in again
