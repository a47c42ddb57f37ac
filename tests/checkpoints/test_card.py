from msgformer.checkpoints.card import ModelCard


def test_image_size_is_height_before_width():
    card = ModelCard("sgformer_small", {}, ["a", "b"], {"input_size": [3, 96, 160]})
    assert card.img_size == (96, 160)
