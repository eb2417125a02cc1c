"""A configuration's hash: it covers every field, and stays what it was where fields are added later."""

import pytest

from ecm_edge.candidate.candidate import CandidateConfig
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data.splits import Split

NETWORK = {"channels": 4, "depth": 2}
TEACHER = {"family": "tcn", "network": NETWORK, "training": {"keep": "last"}}
TAUGHT = {"distill": 1.0, "teacher": TEACHER}


def configured(network=NETWORK, kind=CandidateConfig, **training):
    return kind(
        family="separable",
        network=network,
        training=training,
        seed=0,
        split=Split(train=["A", "B"], validation=["C"], test=["D"]),
        dataset_sha256="0" * 64,
        synthetic=True,
        sampling_rate_hz=250,
        samples_per_segment=1250,
    )


def taught(**changes):
    return configured(distill=1.0, teacher={**TEACHER, **changes})


@pytest.mark.parametrize(
    ("config", "sha256"),
    [
        (configured(), "72beec941c9c1df468fbdb1d6f7cc9f5b71d6f7bc99e9a69daa1cac30d8aa87a"),
        (configured(**TAUGHT), "84c27ce4bb1aa0c21cfb8ac9863a188df9233ebedc8abab151c2c3fcdb115ac5"),
        (
            configured(augmentation={"recut": True, "tempo": 0.1, "splice": 3, "in_band": 0.5}),
            "5fc87c072e13a8eb7981e8ec3581a241a03a0e51b4df8f038046428f7d90e74e",
        ),
        (
            taught(count=3, training={"keep": "last", "augmentation": {"splice": 3}}),
            "6ef81f5b6cf1f284320f09f81ca2b4434891eab3e47d7c29a6213dbc335cf964",
        ),
    ],
    ids=["plain", "taught", "added later and used", "used by teachers"],
)
def test_a_configuration_keeps_its_hash(config, sha256):
    assert config.sha256 == sha256


@pytest.mark.parametrize(
    ("augmentation", "same"), [({"splice": 0, "tempo": 0}, True), ({"splice": 1}, False), ({"tempo": 0.1}, False)]
)
def test_a_field_that_was_added_later_counts_where_it_is_used(augmentation, same):
    assert (configured(augmentation=augmentation).sha256 == configured().sha256) is same
    of_teacher = taught(training={"keep": "last", "augmentation": augmentation})
    assert (of_teacher.sha256 == taught().sha256) is same


def test_parameters_of_networks_always_count():
    assert configured({**NETWORK, "count": 1, "tempo": 0.0}).sha256 != configured().sha256
    assert taught(network={**NETWORK, "count": 1}).sha256 != taught().sha256


class _OtherTraining(TrainingConfig):
    tempo: float = 0.0
    count: int = 1


class _OtherConfig(CandidateConfig):
    training: _OtherTraining


def test_a_field_of_the_same_name_at_another_path_counts():
    other = configured(kind=_OtherConfig)
    assert other.sha256 != configured().sha256
    assert len({configured(kind=_OtherConfig, **fields).sha256 for fields in ({}, {"tempo": 0.5}, {"count": 2})}) == 3
