"""C++ kernels, built anew for a test, and as for processors of fewer instructions than this one has."""

import pytest
import torch

from msgformer.deploy.native import library

AVX2 = torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
X86 = [["-mavx2", "-mfma", "-mno-avx512f"], ["-msse4.2", "-mno-avx"]] if AVX2 else []


def forget():
    library.library.cache_clear()
    library._function.cache_clear()


@pytest.fixture
def forget_kernels():
    """Forgets the kernels that are loaded, when it is called and after the test."""
    forget()
    yield forget
    forget()


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(params=[[], *X86], ids=lambda flags: " ".join(flags) or "own")
def processor(request, monkeypatch, kernels_folder, forget_kernels):
    """The kernels, built as for processors of fewer instructions too."""
    if request.param:
        monkeypatch.setattr(library, "FLAGS", (*(f for f in library.FLAGS if f != "-march=native"), *request.param))
        monkeypatch.setenv("MSGFORMER_CACHE", str(kernels_folder))
