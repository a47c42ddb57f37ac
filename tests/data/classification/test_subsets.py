from msgformer.data.classification.subsets import open_evaluation, open_subsets, record_subsets, reopen_validation


def test_a_class_called_like_a_subset_is_evaluated(image_folder, tmp_path):
    """Without train/ beside it, valid/ is a class folder, in training and in evaluation."""
    root = image_folder(classes=["invalid", "valid"])
    train, val, _ = open_subsets(root, 0.5, 0)
    record_subsets(tmp_path, train, val)
    again = reopen_validation(tmp_path, root, ["invalid", "valid"], 0.5, 0)
    assert [again.name(index) for index in range(len(again.labels))] == [
        val.name(index) for index in range(len(val.labels))
    ]
    assert open_evaluation(root, ["invalid", "valid"]).classes == ("invalid", "valid")


def test_a_validation_folder_alone_is_evaluated(image_folder):
    root = image_folder("data/val", classes=["cats", "dogs"]).parent
    (root / "notes").mkdir()
    assert set(open_evaluation(root, ["cats", "dogs"]).labels) == {0, 1}
