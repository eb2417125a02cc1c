"""Tables for people: what is wider than the page."""

from ecm_edge.base.tables import show

NAMES = ["hop", "verdict", "max abs", "cos", "flips", "F1", "Fβ", "specificity", "max LSB"]
CHANGE = "0.5181 → 0.5153"
ROW = ["float32: C→loongson-2k0500 (emulated)", "PASS", "0.12345", "1.000000", "5", CHANGE, CHANGE, CHANGE, "–"]


def test_a_wide_table_breaks_cells_before_it_cuts_a_heading(capsys):
    show("t", NAMES, [ROW])
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(name in text for name in NAMES)
    assert max(map(len, text.splitlines())) <= 120


def test_a_narrow_screen_keeps_every_column(capsys, monkeypatch):
    monkeypatch.setattr("ecm_edge.base.tables._PIPE_WIDTH", 80)
    monkeypatch.setenv("COLUMNS", "80")
    show("t", NAMES, [ROW])
    text = capsys.readouterr().out
    assert text.splitlines()[5].split()[-1] == "–", text
    assert max(map(len, text.splitlines())) <= 80
