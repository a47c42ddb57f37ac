import importlib
import subprocess
import sys

import pytest

from msgformer.utils.renamed_modules import RENAMED


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_the_same_module_and_warns_once(old):
    code = (
        f"import sys, warnings; warnings.simplefilter('always')\nimport {old}\nimport {old}\n"
        f"import {RENAMED[old]}\nassert sys.modules['{old}'] is sys.modules['{RENAMED[old]}']\n"
        f"assert sys.modules['{old}'].__spec__.name == '{RENAMED[old]}'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{old} is deprecated: its name is {RENAMED[old]} now") == 1


def test_names_are_imported_from_an_old_module():
    sys.modules.pop("msgformer.dense", None)
    with pytest.warns(FutureWarning, match=r"msgformer\.heads"):
        old = importlib.import_module("msgformer.dense")
    assert old.create_detector is importlib.import_module("msgformer.heads").create_detector


def test_other_unknown_names_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("msgformer.denser")
