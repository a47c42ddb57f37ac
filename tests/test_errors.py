import pickle
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from msgformer.errors import UserError, shown


class Unreadable:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise UserError("photo.jpg is not an image; UserError: remove it")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_is_the_same_line(workers):
    loader = DataLoader(Unreadable(), num_workers=workers)
    with pytest.raises(UserError) as error:
        next(iter(loader))
    assert str(error.value) == "photo.jpg is not an image; UserError: remove it"


def test_pickling_keeps_the_message():
    assert str(pickle.loads(pickle.dumps(UserError("a: b")))) == "a: b"


def test_names_do_not_break_lines():
    assert shown("a b\nü\t\x1b[31m\udcff.png") == "a b\\nü\\t\\x1b[31m\\udcff.png"
    assert shown(Path("plain/name.png")) == "plain/name.png"
