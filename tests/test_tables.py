"""Tables for people: what is wider than the page, what is left out, what has colour."""

import pytest

from ecm_edge.base.tables import Column, say, show

NAMES = ["hop", "verdict", "max abs", "cos", "flips", "F1", "Fβ", "specificity", "max LSB"]
CHANGE = "0.5181 → 0.5153"
ROW = ["float32: C→loongson-2k0500 (emulated)", "PASS", "0.12345", "1.000000", "5", CHANGE, CHANGE, CHANGE, "–"]
LONG = "the emulator of this board is not installed, and so nobody has counted one instruction of it"


def test_a_line_is_one_line_whatever_a_file_put_into_it(capsys):
    say("trial 1: a\nPASS: all\r\x1b[2Jb\u202ec")
    assert capsys.readouterr().out == "trial 1: a\\nPASS: all\\r\\x1b[2Jb\\u202ec\n"


@pytest.fixture
def printed(capsys, monkeypatch):
    """What `show` prints at a width; None is a pipe without one."""

    def print_at(width, columns, rows):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width is not None:
            monkeypatch.setenv("COLUMNS", str(width))
        show("t", columns, rows)
        return capsys.readouterr().out

    return print_at


def test_a_pipe_has_120_columns_and_cuts_no_heading(printed):
    text = printed(None, NAMES, [ROW])
    assert "…" not in text
    assert "Not shown" not in text
    assert all(word in text for name in NAMES for word in name.split())
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("width", [40, 60, 80, 100, 111])
def test_a_narrow_table_leaves_columns_out_and_says_which(printed, width):
    text = printed(width, NAMES, [ROW])
    assert max(map(len, text.splitlines())) <= width
    assert "PASS" in text
    assert "Not shown: " in text
    assert "specificity. A wider" in " ".join(text.replace(", max LSB", "").split())
    assert "COLUMNS=112" in text
    assert "Not shown" not in printed(112, NAMES, [ROW])


def test_the_least_important_columns_go_first(printed):
    columns = [Column("a"), Column("second", drop=2), Column("first", drop=1), Column("stays")]
    text = printed(40, columns, [["x" * 10, "1" * 12, "2" * 12, "3" * 12]])
    assert "Not shown: first. " in " ".join(text.split())
    text = printed(40, columns, [["x" * 20, "1" * 12, "2" * 12, "3" * 12]])
    assert "Not shown: second, first. " in " ".join(text.split())
    assert "3" * 12 in text


def test_a_verdict_is_whole_at_any_width(printed):
    rows = [["a name of many words that goes on " * 4, "PASS on 12,400", LONG], ["b", "NOT RUN", LONG]]
    text = printed(40, ["name", "verdict", "why"], rows)
    assert "PASS on 12,400" in text
    assert "NOT RUN" in text
    assert max(map(len, text.splitlines())) <= 40


def test_a_verdict_within_a_column_of_text_changes_nothing_but_its_colour(printed):
    rows = [["flash", "PASS", "PASS"], ["image", "PASS", LONG]]
    lines = printed(60, ["gate", "verdict", "why"], rows).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[3] == "  flash  PASS     PASS"


def test_text_stands_left_and_numbers_right(printed):
    lines = printed(80, ["name", "count", "note"], [["a", "1,024", "of a file"], ["bc", "7", "–"]]).splitlines()
    assert lines[1] == "  name  count  note"
    assert lines[3:5] == ["  a     1,024  of a file", "  bc        7  –"]


def test_long_text_wraps_between_words_in_the_last_column(printed):
    lines = printed(60, ["gate", "verdict", "why"], [["flash", "FAIL", LONG]]).splitlines()
    assert " ".join(line[17:].strip() for line in lines[3:-1]) == LONG
    assert "Not shown" not in " ".join(lines)


def test_an_interval_moves_under_its_number(printed):
    figure = "0.973 (0.925 … 1.000)"
    text = printed(60, ["figure", "pooled", "mean", "even"], [["g", figure, figure, figure]])
    assert text.splitlines()[3].split() == ["g", "0.973", "0.973", "0.973"]
    assert text.count("(0.925 … 1.000)") == 3


def test_wide_characters_count_as_the_two_cells_that_they_take(printed):
    text = printed(60, ["subject", "n"], [["心房颤动" * 8, "12"]])
    assert "12" in text
    assert all(len(line) + sum(c > "⺀" for c in line) <= 60 for line in text.splitlines())


def test_a_long_table_is_cut_and_says_so(printed):
    assert "and 5 more rows: --json" in printed(None, ["n"], [[str(n)] for n in range(205)])


def test_verdicts_have_colour_on_a_terminal_and_none_where_it_is_unwanted(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    monkeypatch.delenv("NO_COLOR", raising=False)
    show("FAIL: two", ["gate", "verdict"], [["a", "PASS on 240"], ["b", "NOT RUN"]])
    text = capsys.readouterr().out
    assert "\x1b[1;31mFAIL\x1b[0m: two" in text
    assert "\x1b[32mPASS on 240\x1b[0m" in text
    assert "\x1b[33mNOT RUN\x1b[0m" in text
    monkeypatch.setenv("NO_COLOR", "1")
    say("FAIL: none")
    assert "\x1b[31m" not in capsys.readouterr().out


def test_a_line_breaks_between_words_where_a_width_is_set(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    say(f"- {LONG}")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert [line[:2] for line in lines] == ["- ", "  ", "  "]
    monkeypatch.delenv("COLUMNS")
    say(f"- {LONG}")
    assert capsys.readouterr().out == f"- {LONG}\n"
