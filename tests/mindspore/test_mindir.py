"""Export to MindIR: the reloaded file gives the same logits."""

import mindspore as ms
import numpy as np
import pytest
from small import pair

from models.fill import fill


@pytest.mark.parametrize("kind", ["overlapping", "sg_former"])
def test_reloaded_file_is_equal(kind, tmp_path):
    _, model = pair(kind, ms.float64)  # in which no two significances are equal but for rounding
    image = ms.Tensor(fill("image", (2, 3, 64, 64)).numpy(), ms.float64)
    path = str(tmp_path / "model.mindir")
    ms.export(model, image, file_name=path, file_format="MINDIR")
    loaded = ms.nn.GraphCell(ms.load(path))
    np.testing.assert_allclose(loaded(image).asnumpy(), model(image).asnumpy(), rtol=1e-5, atol=1e-6)
