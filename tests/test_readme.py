"""README: its sessions are run as they stand, its figures and its glossary are held against the code."""

import re
import tomllib

import pytest

from benchmarks import counts, figures
from ecm_edge import targets, tasks
from ecm_edge.firmware import emulate

from .documents import ALL, ROOT, commands, not_printed, run, session, text_of

MOST_LINES = 200
NETS = ROOT / "benchmarks" / "nets"


@pytest.fixture
def checkout(tmp_path):
    """A folder in which the paths of the checkout that README names are there."""
    for name in ("data", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def play(lines, folder):
    """Run a session; every command ends well, and prints what is shown below it."""
    for line, shown in lines:
        done = run(line, folder)
        assert done.returncode == 0 or (line.endswith("|| true") and done.returncode == 1), (line, done.stdout)
        assert not_printed(shown, done.stdout) == [], (line, done.stdout)


def test_it_is_short():
    assert len(text_of("README.md").splitlines()) <= MOST_LINES


def emulators():
    return [missing.reason for name in counts.BOARDS if (missing := emulate.available(targets.load(name)))]


def test_the_session_on_an_onnx_file(checkout):
    lines = session("README.md", "Your own ONNX file")
    if missing := emulators():
        pytest.skip(missing[0])
    play(lines, checkout)
    assert {line.split()[1] for line, _ in lines if line.startswith("ecm-edge ")} == {
        *("fit", "verify", "bench", "firmware", "bundle", "quantize", "compare")
    }


def test_the_session_on_recordings(checkout):
    lines = session("README.md", "Your own recordings")
    if missing := emulators():
        pytest.skip(missing[0])
    play(lines, checkout)
    assert [line.split()[1] for line, _ in lines] == [
        *("data", "data", "search", "verify", "bench", "score", "promote", "history", "bundle", "report")
    ]
    assert (checkout / "report.html").is_file()


def facts():
    """Every number in README's prose, and where it is from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    boards = [targets.load(name) for name in targets.names() if name != "host"]
    af = tasks.load("af-5s")
    return {
        project["requires-python"].removeprefix(">="): "Python",
        f"{af.window_s:g}": "seconds of a segment",
        "28": "a side of the pictures of benchmarks/nets/picture.onnx",
        **{f"{board.core.clock_hz / 1e6:g}": "MHz" for board in boards},
        "2022": "the contest's year",
        "8": "bits of int8",
        "4": "bits of a float that is refused",
        "0.9": "Fβ of a good subject",
        "2": "β",
    }


def test_every_number_in_prose_is_known():
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", figures.prose("README.md"), flags=re.DOTALL)
    numbers = {number.rstrip(".,") for number in re.findall(r"(?<![\w-])\d[\d.,]*", text)}
    assert numbers - set(facts()) == set()
    assert set(facts()) - numbers == set()


def glossary():
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", text_of("README.md", "Glossary"), re.MULTILINE)
    return dict(rows[1:])


def test_the_glossary_explains_words_that_are_used():
    """In other documents or in help texts and messages; each in one line, in the order of the alphabet."""
    used = "".join(text_of(document) for document in ALL if document != "README.md")
    used += "".join(path.read_text() for path in (ROOT / "ecm_edge").rglob("*.py"))
    terms = list(glossary())
    assert len(terms) > 25
    assert sorted(terms, key=lambda term: term.casefold().replace("β", "b")) == terms
    words = [word for term in terms for word in term.split(", ")]
    assert [word for word in words if word.casefold() not in used.casefold()] == []


def test_the_picture_is_there_and_small():
    picture = ROOT / re.search(r"!\[[^]]+\]\(([^)]+)\)", text_of("README.md"))[1]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200 * 1024


def test_the_commands_of_make_are_there():
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for document in ALL for name in re.findall(r"`?make ([a-z]+)`", text_of(document))}
    assert named - {"check", "board"} <= known
    assert {"demo", "test"} <= set(re.findall(r"^make (\w+)", text_of("README.md", "Two commands"), re.MULTILINE))
    assert "make -C bundle check" in commands("README.md", "Your own ONNX file")
