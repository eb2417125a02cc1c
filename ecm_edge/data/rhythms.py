"""Rhythm codes: what a label counts as, by the vocabulary that it is written in and by what the user states.

A code that the vocabulary does not have stops an import: a label that is silently negative makes a wrong data set.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from ecm_edge.base.errors import RecordingError
from ecm_edge.base.names import did_you_mean
from ecm_edge.base.records import Record
from ecm_edge.data.dataset import BLANK_RHYTHM, Blank, LeftOut, SegmentBlock
from ecm_edge.data.reasons import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ecm_edge.tasks import Task

_CODES_SHOWN = 10

AF_RHYTHM = "AFIB"
"""Atrial fibrillation, as PhysioNet's annotations write it."""

Meaning = Literal["positive", "negative", "no label", "left out"]
"""What the windows of a rhythm count as; those without a label are in the data set, those left out are not."""

_PHYSIONET = """
AB AFL ASYS B BI BII HGEA IVR J N NOD NSR P PM PREX SAB SBR SVTA T VER VF VFIB VFL VT
""".split()  # noqa: SIM905 - a list would have a line for each code
_SNOMED = """
106068003 111288001 164895002 164896001 195101003 233897008 251166008 29320008 426648003 426664006 426761007
427084000 427393009 49260003 61277005 713422000
""".split()  # noqa: SIM905 - a list would have a line for each code

VOCABULARIES: dict[str, dict[str, str]] = {
    "physionet": {AF_RHYTHM: AF_RHYTHM, "NOISE": "", **dict(zip(_PHYSIONET, _PHYSIONET, strict=True))},
    "cinc2017": {"A": AF_RHYTHM, "N": "N", "O": "O", "~": ""},
    "snomed": {
        **dict(zip(_SNOMED, _SNOMED, strict=True)),
        "164889003": AF_RHYTHM,
        "164890007": "AFL",
        "426783006": "N",
        "426177001": "SBR",
    },
}
"""Each code with the rhythm that it is kept as; "" is noise, whose windows are left out.

physionet  the rhythm annotations of PhysioNet's databases, without the bracket
           (https://archive.physionet.org/physiobank/annotations.shtml, and the page of the database vfdb)
cinc2017   the labels of the PhysioNet/CinC Challenge of 2017
snomed     of the codes of the PhysioNet/CinC Challenge of 2021 (dx_mapping_scored.csv and dx_mapping_unscored.csv of
           its evaluation code) AF and the rhythms other than AF. Blocks, axes, beats and waves go with AF as well as
           with another rhythm, and have to be stated. So have kinds of AF that name no rhythm of the moment, such as
           paroxysmal AF.
"""

Codes = Literal["physionet", "cinc2017", "snomed"]

_SPELLINGS = (
    {"A", "AF", "AFB", AF_RHYTHM, "ATRIALFIBRILLATION"},
    {"VT", "VTACH", "VENTRICULARTACHYCARDIA", "164895002"},
    {"VF", "VFB", "VFIB", "VENTRICULARFIBRILLATION", "164896001"},
    {"VFL", "VFT", "VENTRICULARFLUTTER", "111288001"},
)
"""Spellings of one rhythm, in capitals and without punctuation: a code that is not known may be meant as another."""


@dataclass(frozen=True)
class RhythmRules:
    """What the user states about codes. `positive` takes the place of AFIB; `mapping` pairs are (code, known code)."""

    codes: Codes = "physionet"
    positive: tuple[str, ...] = (AF_RHYTHM,)
    negative: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a code that is stated twice with different meanings."""
        stated = Counter([*set(self.positive), *set(self.negative), *set(self.ignored), *dict(self.mapping)])
        twice = [code for code, count in stated.items() if count > 1]
        if twice or not self.positive:
            raise RecordingError(
                "each rhythm code is stated once, and one at least is positive",
                f"{twice[0]!r} twice" if twice else "no positive one",
                "Check --positive, --negative, --ignore and --map: what the task states counts as well.",
            )

    @classmethod
    def of(cls, task: Task) -> RhythmRules:
        """The rules of a task, in the vocabulary of PhysioNet."""
        return cls(positive=tuple(task.positive), negative=tuple(task.negative), ignored=tuple(task.ignored))

    def stated_beside(self, others: RhythmRules) -> list[str]:
        """The codes that these rules say to keep and others do not; of `mapping`, what it maps."""
        stated = dict.fromkeys((*self.positive, *self.negative, *dict(self.mapping)))
        known = {*others.positive, *others.negative, *dict(others.mapping)}
        return [code for code in stated if code not in known]

    def kept_as(self, code: str) -> str | None:
        """The rhythm that a code is kept as; "" where its windows are left out, None where it has to be stated.

        It has to be where the vocabulary does not have it, or has it for a rhythm that a positive one may be another
        spelling of.
        """
        code = dict(self.mapping).get(code, code)
        if code in self.ignored:
            return ""
        if code in {*self.positive, *self.negative}:
            return code
        known = VOCABULARIES[self.codes].get(code)
        return None if known and known not in self.positive and _near(known, self.positive) else known

    def statement(self) -> dict[str, str]:
        """What differs from the default, for the source of a data set's header."""
        pairs = ",".join(f"{code}={known}" for code, known in self.mapping)
        lists = {"negative": ",".join(self.negative), "ignore": ",".join(self.ignored), "map": pairs}
        codes = {} if self.codes == "physionet" else {"codes": self.codes}
        return codes | {name: text for name, text in lists.items() if text}


class RhythmCount(Record):
    """One rhythm of an import: the codes it was written in, what it counts as, its windows and its subjects."""

    rhythm: str
    written_as: list[str]
    meaning: Meaning
    segments: int
    subjects: int


@dataclass
class Labelling:
    """The labelling of one import, and its counts so far."""

    rules: RhythmRules
    blank: Blank = "negative"
    segments: Counter[str] = field(default_factory=Counter)
    subjects: dict[str, set[str]] = field(default_factory=dict)

    def label(self, blocks: Iterable[SegmentBlock]) -> Iterator[SegmentBlock]:
        """The blocks with each rhythm as it is kept, without the windows that are left out.

        Raises:
            RecordingError: after the last block, if a code is not known, with all of them.
        """
        for block in blocks:
            for code, subject in zip(block.rhythms, block.subjects, strict=True):
                self.segments[code] += 1
                self.subjects.setdefault(code, set()).add(subject)
            yield self._kept(block)
        unknown = [code for code in sorted(self.segments) if code != BLANK_RHYTHM and self.rules.kept_as(code) is None]
        if unknown:
            raise self._not_known(unknown)

    @property
    def seen(self) -> set[str]:
        """Every code so far, as it was written and as it is kept."""
        return {*self.segments, *(self.rules.kept_as(code) or "" for code in self.segments)}

    def table(self) -> list[RhythmCount]:
        """Every rhythm that was seen, the positive ones first."""
        written: dict[str, list[str]] = {}
        for code in sorted(self.segments):
            written.setdefault(self._kept_as(code) or code, []).append(code)
        rows = [
            RhythmCount(
                rhythm=rhythm,
                written_as=codes,
                meaning=self._meaning(codes[0]),
                segments=sum(self.segments[code] for code in codes),
                subjects=len(set().union(*(self.subjects[code] for code in codes))),
            )
            for rhythm, codes in written.items()
        ]
        return sorted(rows, key=lambda row: (get_args(Meaning).index(row.meaning), row.rhythm))

    def _kept_as(self, code: str) -> str | None:
        """The rhythm in the data set; None for a code whose windows are not in it."""
        return code if code == BLANK_RHYTHM else self.rules.kept_as(code) or None

    def _meaning(self, code: str) -> Meaning:
        if code == BLANK_RHYTHM:
            return "negative" if self.blank == "negative" else "no label"
        kept_as = self._kept_as(code)
        if kept_as is None:
            return "left out"
        return "positive" if kept_as in self.rules.positive else "negative"

    def _kept(self, block: SegmentBlock) -> SegmentBlock:
        kept_as = {code: self._kept_as(code) for code in set(block.rhythms)}
        rows = [row for row, code in enumerate(block.rhythms) if kept_as[code] is not None]
        if len(rows) == len(block.rhythms):
            return replace(block, rhythms=[kept_as[code] or BLANK_RHYTHM for code in block.rhythms])
        dropped = Counter(code for code in block.rhythms if kept_as[code] is None)
        name = block.names[0].partition("+")[0]
        return replace(
            block,
            samples=block.samples[rows],
            names=[block.names[row] for row in rows],
            subjects=[block.subjects[row] for row in rows],
            rhythms=[kept_as[block.rhythms[row]] or BLANK_RHYTHM for row in rows],
            episodes=[block.episodes[row] for row in rows],
            splits=[block.splits[row] for row in rows],
            left_out=[
                *block.left_out,
                *(
                    LeftOut(name=name, reason=f"the rhythm {code!r} is ignored", windows=count)
                    for code, count in dropped.items()
                ),
            ],
        )

    def _not_known(self, unknown: list[str]) -> RecordingError:
        mapped = {code: f", by --map {to!r}" for code, to in self.rules.mapping}
        shown = [f"{code!r}{mapped.get(code, '')} ({self.segments[code]} windows)" for code in unknown]
        found = some(shown, _CODES_SHOWN)
        return not_known(self.rules, unknown, found)


def not_known(rules: RhythmRules, unknown: Sequence[str], found: str) -> RecordingError:
    """The error for codes that have to be stated; `found` says where they are."""
    near = [(code, known) for code in unknown if (known := _near(code, rules.positive))]
    others = [code for code in unknown if code not in dict(near)]
    hints = []
    if near:
        ways = " ".join(f"--map {shlex.quote(f'{code}={known}')}" for code, known in near)
        stated = shlex.quote(",".join(code for code, _ in near))
        hints.append(f"Near {near[0][1]}: write {ways} if that is meant, else --negative {stated}.")
    if others:
        first, mapped = shlex.quote(others[0]), shlex.quote(f"{others[0]}=KNOWN")
        say = f"Say what {others[0]!r} is too" if near else "Say what each is"
        asked = "" if rules.codes == "snomed" else did_you_mean(others[0], VOCABULARIES[rules.codes])
        hints.append(f"{asked}{say}: --negative {first}, --positive, --ignore, or --map {mapped}.")
    if others == ["0", "1"]:
        hints.append(f"Where 1 stands for {rules.positive[0]}: --negative 0 --map 1={rules.positive[0]}.")
    hint = " ".join(hints)
    vocabularies = ", ".join(name for name in VOCABULARIES if name != rules.codes)
    return RecordingError(
        f"every rhythm code is one of the vocabulary {rules.codes}, or is stated",
        found,
        f"Nothing was written. {hint} Other vocabularies: --codes {vocabularies}.",
    )


def _near(code: str, positive: Collection[str]) -> str | None:
    """The positive rhythm that a code is near: the same letters and digits, or another spelling of the same rhythm.

    >>> [_near(code, ["AFIB"]) for code in ("afib", "(AFIB", "AF", "VT")]
    ['AFIB', 'AFIB', 'AFIB', None]
    >>> _near("v-fb", ["VT", "VFb"]), _near("VFIB", ["VFb"]), _near("(VF", ["VFIB"])
    ('VFb', 'VFb', 'VFIB')
    """
    plain = _plain(code)
    for known in positive:
        names = next((each for each in _SPELLINGS if _plain(known) in each), {_plain(known)})
        if plain and plain in names:
            return known
    return None


def _plain(code: str) -> str:
    """The letters and digits of a code, in capitals."""
    return "".join(filter(str.isalnum, code)).upper()


def one_class(meanings: Collection[str]) -> str:
    """A sentence where windows of a class are missing; empty where there are both.

    >>> one_class({"negative"})
    'no positive window: nothing can be learnt or scored from this data set alone'
    """
    missing = [label for label in ("positive", "negative") if label not in meanings]
    words = " and no ".join(missing)
    return f"no {words} window: nothing can be learnt or scored from this data set alone" if missing else ""
