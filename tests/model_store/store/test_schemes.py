from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_store.catalog.reference import resolve
from model_store.errors import AccessDeniedError, NotFoundError, UsageError
from model_store.store.remote import Remote
from model_store.store.schemes import ALLOW_HTTP_VARIABLE, az_config, connection, gs_config, is_web, s3_config
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import pull
from tests.ceph import Ceph
from tests.model_store.samples import contents

# The key that every Azure emulator has; written down in the documentation of the service.
EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connect(url: str) -> object:
    return connection(url, publishing=False, patience_s=1)()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host", "supported are s3://, gs://, az://, https://, http:// and file://"),
        ("bucket/models", "as in s3://bucket/prefix"),
        ("/srv/models", "as in file:///srv/models for this folder"),
        ("file://srv/models", "absolute path"),
        ("s3://", "a bucket"),
        ("s3://key:secret@bucket", "a bucket"),
        ("gs://bucket/x?y", "gs://bucket/prefix"),
        ("az:///x", "a container"),
        ("https://", "a host"),
        ("https://user:secret@host/x", "neither credentials"),
        ("https://host/x?token=y", "nor a query"),
        ("http://models.example.org/x", ALLOW_HTTP_VARIABLE),
        ("http://10.0.0.1/x", "use https://"),
    ],
)
def test_urls_that_cannot_be_meant(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Remote.open(url)


@pytest.mark.parametrize("url", ["http://localhost:8000/x", "http://127.0.0.1", "http://[::1]:80/x", "https://host/x"])
def test_web_servers_that_are_taken(url: str) -> None:
    assert is_web(Remote.open(url).url)


def test_http_is_taken_where_somebody_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_HTTP_VARIABLE, "1")
    assert Remote.open("http://models.example.org/x/").url == "http://models.example.org/x"


def test_s3_takes_the_usual_variables() -> None:
    assert s3_config({}) == {"region": "us-east-1", "virtual_hosted_style_request": False}
    assert s3_config(
        {"AWS_DEFAULT_REGION": "eu-1", "AWS_ENDPOINT_URL": "http://h:1/", "AWS_S3_FORCE_PATH_STYLE": "false"}
    ) == {"region": "eu-1", "virtual_hosted_style_request": True, "endpoint": "http://h:1"}


def test_gs_takes_the_emulator_as_others_do() -> None:
    assert gs_config({}) == {}
    for said in ("127.0.0.1:4443", "http://127.0.0.1:4443/"):
        account = json.loads(gs_config({"STORAGE_EMULATOR_HOST": said})["service_account_key"])
        assert (account["gcs_base_url"], account["disable_oauth"]) == ("http://127.0.0.1:4443", True)
    with pytest.raises(UsageError, match="STORAGE_EMULATOR_HOST='ftp://x'"):
        gs_config({"STORAGE_EMULATOR_HOST": "ftp://x"})


def test_az_takes_a_connection_string() -> None:
    assert az_config(
        {
            "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={EMULATOR_KEY};BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
        }
    ) == {
        "account_name": "devstoreaccount1",
        "account_key": EMULATOR_KEY,
        "endpoint": "http://127.0.0.1:10000/devstoreaccount1",
    }
    assert az_config({"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;SharedAccessSignature=?sv=1&sig=x%3D"}) == {
        "account_name": "a",
        "sas_key": "sv=1&sig=x%3D",
    }
    assert az_config({"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=k;EndpointSuffix=core.example"}) == {
        "account_name": "a",
        "account_key": "k",
        "endpoint": "https://a.blob.core.example",
    }
    assert az_config({"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"}) == {"use_emulator": True}
    assert az_config({"AZURE_STORAGE_ACCOUNT_NAME": "a"}) == az_config({"AZURE_STORAGE_USE_EMULATOR": "true"}) == {}


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", "x", "set AZURE_STORAGE_ACCOUNT_NAME"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;BlobEndpoint=a.b", "is not a URL like"),
        ("AZURE_STORAGE_ENDPOINT", "a.b", "is not a URL like"),
    ],
)
def test_az_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=says):
        Remote.open("az://container/models")


def test_what_the_library_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", EMULATOR_KEY)
    azure = connect("az://container/a%20b/c/")
    assert (azure.config["container_name"], azure.prefix) == ("container", "a b/c")  # type: ignore[attr-defined]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
    google = connect("gs://bucket/models")
    assert (google.config["bucket"], google.prefix) == ("bucket", "models")  # type: ignore[attr-defined]


def test_gs_reads_from_what_answers_its_requests(
    ceph: Ceph, ceph_url: str, folder: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's requests for reading are those of S3 but for the signature, so radosgw's public bucket answers them."""
    publish(folder, Remote.open(ceph_url, publishing=True), "xception", labels=["stable"])
    bucket = ceph_url.split("/")[2]
    ceph.allow(bucket, "*", ["s3:GetObject", "s3:ListBucket"])
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", ceph.endpoint)
    remote = Remote.open(f"gs://{bucket}/team/models")
    assert remote.list_folders() == ["xception"]
    assert contents(pull(remote, resolve(remote, "xception"), cache).root) == contents(folder)
    with pytest.raises(NotFoundError, match="bucket 'no-such-bucket' does not exist"):
        Remote.open("gs://no-such-bucket").list_folders()


@pytest.mark.parametrize(
    ("url", "environment", "says"),
    [
        ("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": "/none.json"}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs://bucket", {"GOOGLE_SERVICE_ACCOUNT": "/none.json"}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://box", {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "!"}, "AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_credentials_that_cannot_be_read_are_told_in_the_words_of_their_cloud(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], says: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((UsageError, AccessDeniedError), match=says) as caught:
        Remote.open(url, patience_s=1).get("m/a", 1)
    assert "AWS" not in str(caught.value)
