"""Artefacts: a trial's files in a store and out of it again, whole and checked or not at all."""

from __future__ import annotations

import hashlib
import io

import fsspec
import optuna
import pytest
from optuna.artifacts import download_artifact

from ecm_edge.base.errors import OutputError, SearchError
from ecm_edge.search import artifacts
from ecm_edge.search.artifacts import Artifact, Store
from tests import s3

CONTENT = {"candidate.json": b"{}", "firmware/float32/image.elf": bytes(range(256)) * 5000, "again.json": b"{}"}


@pytest.fixture(scope="module")
def bucket():
    with s3.server() as url:
        yield url


@pytest.fixture(params=["folder", "file", "s3"])
def store(request, tmp_path):
    """A store of each kind; every test has one of its own."""
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    return Store(str(tmp_path / "store") if request.param == "folder" else (tmp_path / "a store").as_uri())


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENT.items():
        path = tmp_path / "trial" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "trial"


def fetched(store, uploaded, at):
    at.mkdir()
    store.download(uploaded, at)
    return {path.relative_to(at).as_posix(): path.read_bytes() for path in at.rglob("*") if path.is_file()}


def stored(store):
    """The names in a store; `write` of the same name twice leaves one."""
    return sorted(path.rpartition("/")[2] for path in fsspec.url_to_fs(store.url)[0].find(store.url))


def test_what_was_stored_comes_back(store, folder, tmp_path):
    uploaded = store.upload(folder)
    assert {name: (a.sha256, a.bytes) for name, a in uploaded.items()} == {
        name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENT.items()
    }
    assert fetched(store, uploaded, tmp_path / "elsewhere") == CONTENT


def test_the_same_file_is_stored_once(store, folder):
    uploaded = store.upload(folder)
    assert store.upload(folder) == uploaded
    assert stored(store) == sorted({artifact.artifact_id for artifact in uploaded.values()})
    assert len(stored(store)) == 2


def test_it_is_a_store_as_optuna_takes_it(store, tmp_path):
    store.write("abc", io.BytesIO(b"content"))
    download_artifact(artifact_store=store, artifact_id="abc", file_path=str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"content"
    store.remove("abc")
    with pytest.raises(optuna.artifacts.exceptions.ArtifactNotFound):
        store.open_reader("abc")


def test_a_check_leaves_nothing(store):
    store.check()
    assert stored(store) == []


def test_a_broken_upload_leaves_nothing_under_a_final_name(store):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError("the disk is gone")
            return super().read(size and 3)

    with pytest.raises(OSError, match="the disk is gone"):
        store.write("abc", Broken(b"content"))
    assert stored(store) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda a: a.model_copy(update={"bytes": a.bytes - 1}), "more or less than"),
        (lambda a: a.model_copy(update={"bytes": a.bytes + 1}), "more or less than"),
        (lambda a: a.model_copy(update={"sha256": "0" * 64}), "another content"),
        (lambda a: a.model_copy(update={"artifact_id": "0" * 64}), "no 000000"),
    ],
)
def test_a_damaged_file_is_noticed(store, folder, tmp_path, change, found):
    uploaded = store.upload(folder)
    uploaded["candidate.json"] = change(uploaded["candidate.json"])
    with pytest.raises(SearchError, match=f"found {found}.* for candidate.json"):
        fetched(store, uploaded, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "path", ["../out", "/etc/passwd", "a/../../out", "", ".", "a//b", "a/", "a\\b", "a\nb", "a/./b", "//a"]
)
def test_no_path_leads_out_of_the_folder(tmp_path, path):
    artifact = Artifact(artifact_id="0" * 64, sha256="0" * 64, bytes=1)
    with pytest.raises(SearchError, match="lie in its folder"):
        Store(str(tmp_path)).download({path: artifact}, tmp_path)


def test_a_file_is_no_folder_too(tmp_path):
    artifact = Artifact(artifact_id="0" * 64, sha256="0" * 64, bytes=1)
    with pytest.raises(SearchError, match=r"lie in its folder.*'a/b'"):
        Store(str(tmp_path)).download({"a": artifact, "a/b": artifact}, tmp_path)


def test_sizes_are_bounded_before_anything_is_fetched(tmp_path):
    artifact = Artifact(artifact_id="0" * 64, sha256="0" * 64, bytes=1 << 33)
    with pytest.raises(SearchError, match="at most 10,000 files and 8,589,934,592 bytes"):
        Store(str(tmp_path)).download({"a": artifact, "b": artifact}, tmp_path)


@pytest.mark.parametrize("url", ["ftp://user:secret@host/x", "s3://key@bucket/x", "simplecache::sftp://u:secret@h/x"])
def test_no_password_comes_into_the_study(url):
    with pytest.raises(SearchError, match="holds no user and no password") as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "key@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [("nothing://x", "ValueError for nothing://x"), ("s3://no-such-bucket/x", "FileNotFoundError for s3://no-such")],
)
def test_a_store_that_is_not_there_is_said_at_once(bucket, url, found):
    assert bucket
    with pytest.raises(SearchError, match=found) as caught:
        Store(url).check()
    assert s3.SECRET not in str(caught.value)


def test_a_missing_filesystem_is_named():
    with pytest.raises(SearchError, match=r"none for gs://bucket/x. Install it: .*gcsfs"):
        Store("gs://bucket/x")


def test_a_missing_s3_names_the_extra(monkeypatch):
    monkeypatch.setattr(artifacts.fsspec, "url_to_fs", lambda *_, **__: (_ for _ in ()).throw(ImportError("s3fs")))
    with pytest.raises(SearchError, match=r"pip install 'ecm-edge\[s3\]'"):
        Store("s3://bucket/x")


def test_nothing_is_noted_before_all_is_stored(tmp_path, folder):
    (tmp_path / "store").touch()  # where a folder has to be
    with pytest.raises(OutputError, match="takes files"):
        artifacts.upload(str(tmp_path / "store"), folder)


def test_a_trial_that_has_ended_gets_further_files(tmp_path, folder):
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr(artifacts.ARTIFACTS, artifacts.upload(str(tmp_path / "store"), folder))
    study.tell(trial, 1.0)
    assert artifacts.of_trial(study.user_attrs, study.trials[0], 0).keys() == CONTENT.keys()
    (folder / "verify.json").write_text("{}")
    study.set_user_attr(artifacts.of_ended(0), artifacts.upload(str(tmp_path / "store"), folder))
    assert {*artifacts.of_trial(study.user_attrs, study.trials[0], 0)} == {*CONTENT, "verify.json"}
    assert artifacts.of_trial(study.user_attrs, study.trials[0], 1).keys() == CONTENT.keys()


@pytest.mark.parametrize("noted", [7, {"a": 1}, {"a": {"artifact_id": "../x", "sha256": "0" * 64, "bytes": 1}}])
def test_what_is_no_list_of_files_is_refused(noted):
    study = optuna.create_study()
    study.set_user_attr("artifacts:0", noted)
    with pytest.raises(SearchError, match=r"path, hash and bytes.* for trial 0"):
        artifacts.of_trial(study.user_attrs, optuna.trial.create_trial(value=1.0), 0)
