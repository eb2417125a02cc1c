"""What is said at the end of a command: the epoch that was kept, poor answers, and what would help."""

import pytest

from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.cli import _kept
from ecm_edge.data.audit import AuditRecord, audit
from ecm_edge.evaluate.verify.records import AS_RUN, EXPORTED, FILE_AS_RUN, QUANTISED, SIMPLIFIED, Hop, VerifyRecord
from ecm_edge.evaluate.verify.remedies import remedies
from tests import report_records as made
from tests import tiny


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A candidate with every record."""
    at = tmp_path_factory.mktemp("steps")
    return made.full(at / "c", made.dataset(at / "data"))


def trained(folder, **changes):
    config = candidate.load_config(folder)
    record = made.training(config)
    best = record.best.model_copy(
        update={name: changes.pop(name) for name in ("recall", "specificity") & changes.keys()}
    )
    return record.model_copy(update={"best": best, **changes}), config


def test_an_early_end_says_why_and_what_is_kept(full):
    record, config = trained(full, stopped="patience")
    last, best, patience = record.epochs[-1].epoch, record.best.epoch, config.training.patience
    said = f"stopped after epoch {last} of {config.training.epochs}: no better for {patience}; epoch {best} kept"
    assert _kept.ended_early(record, config) == said
    assert _kept.ended_early(record.model_copy(update={"stopped": "finished"}), config) == ""


@pytest.mark.parametrize(
    ("recall", "specificity", "said"),
    [
        (1.0, 0.0, "it calls most of what is not AF AF (specificity 0.000)"),
        (0.25, 0.9, "it misses most AF (sensitivity 0.250)"),
        (0.5, 0.5, ""),
        (None, None, ""),
    ],
)
def test_poor_answers_are_warned_of(full, recall, specificity, said):
    record, _ = trained(full, recall=recall, specificity=specificity)
    told = _kept.poor_answers(record, "AF")
    assert said in told
    assert bool(told) == bool(said)


def verified(folder, **verdicts):
    record = VerifyRecord.load(folder / candidate.VERIFY)
    names = {
        "exported": EXPORTED,
        "simplified": SIMPLIFIED,
        "quantised": QUANTISED,
        "as_run": AS_RUN,
        "file_as_run": FILE_AS_RUN,
        "float_c": "float32: reference→C",
    }
    hops = [Hop(name=names[at], reference="a", other="b", verdict=verdict) for at, verdict in verdicts.items()]
    return record.model_copy(update={"hops": hops})


def test_a_failed_hop_says_what_would_help(full):
    passed = {"exported": Verdict.PASS, "simplified": Verdict.PASS, "as_run": Verdict.PASS}
    [said] = remedies(verified(full, **passed, quantised=Verdict.FAIL))
    assert said.startswith("int8 decides otherwise: train with int8 simulated (--set training.qat_epochs=4)")
    assert said.endswith("holds back itself alone: `ecm-edge promote --form float32`.")
    [said] = remedies(verified(full, exported=Verdict.FAIL, quantised=Verdict.PASS))
    assert "nothing can ship" in said
    assert "promote" not in said
    assert remedies(verified(full, **passed, quantised=Verdict.PASS)) == []
    assert "--form" not in remedies(verified(full, **passed, quantised=Verdict.FAIL, float_c=Verdict.NOT_RUN))[0]
    [said] = remedies(verified(full, file_as_run=Verdict.FAIL))
    assert said.startswith("onnxruntime rounds unlike the reference")


def test_the_audit_prints_no_empty_table(tmp_path):
    data = tiny.data(tmp_path / "data", {"A": [("N", [1.0])], "B": [("AFIB", [2.0])]})
    record: AuditRecord = audit(data)
    _, out = tiny.run_for_output("data", "audit", data.folder)
    assert record.contradictions == []
    assert "contradicted\n ─" not in out
    assert "Labels contradicted out of fold" in out
    assert "A data set passes where no subject" in out
    assert "FAIL if" not in out


def test_a_search_stopped_before_it_begins_keeps_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ecm_edge.cli.search.open_data", interrupted)
    assert tiny.run(["search", "--data", tmp_path, "--target", "host", "-o", tmp_path / "run"]) == 130
    told = capsys.readouterr().err
    assert "nothing was kept; begin again with: ecm-edge" in told
    assert "--resume" not in told
