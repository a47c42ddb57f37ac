"""Tests of the MindSpore models. They run where MindSpore is installed: `uv run --extra mindspore`, see .ci/run."""

from importlib.metadata import PackageNotFoundError, version

import pytest

try:
    version("mindspore")
except PackageNotFoundError:
    collect_ignore_glob = ["*.py"]
else:
    import mindspore

    mindspore.set_device("CPU")
    mindspore.runtime.launch_blocking()  # the threads that would prepare the next operators wait busily


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.mindspore)
