"""Files of pooled features."""

import numpy as np

from msgformer.tasks.embedding.file import open_embedding_file


def test_numpy_file_is_written_batch_by_batch(tmp_path):
    """The header has a fixed length, and the file appears when it is complete."""
    output = tmp_path / "features.npy"
    with open_embedding_file(output) as file:
        for number in range(1000):
            file.write([f"{number}.png", "line\nbreak\r.png"], np.full((2, 3), number, np.float32))
            assert not output.exists()
    found = np.load(output, mmap_mode="r")
    assert found.shape == (2000, 3)
    assert (found[::2, 0] == np.arange(1000)).all()
    names = (tmp_path / "features.txt").read_text().splitlines()
    assert len(names) == 2000
    assert names[-1] == r"line\nbreak\r.png"
