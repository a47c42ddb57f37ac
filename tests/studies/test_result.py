"""Results of a study."""

from msgformer.studies.result import StudiedRow, Study


def test_the_table_has_a_title_and_settings(tmp_path):
    rows = [StudiedRow.of("a", "r", 1500, [50.0, 52.0], 80.2), StudiedRow.of("b", "r", 1500, [60.0], None)]
    text = Study("table4", "Title", "sample:pairs", True, 8, 2, rows, tmp_path).table()
    assert "small models on sample:pairs, 8 epochs, 2 seeds" in text
    assert "51.00 ± 1.41" in text
    assert "60.00" in text
