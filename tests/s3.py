"""An S3 server on this machine, moto's, with one empty bucket; its address and keys are in the environment."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

BUCKET = "artefacts"
SECRET = "not-to-be-shown"  # noqa: S105 - of a server that ends with the test


@contextmanager
def server():
    """The URL of the bucket, as long as the block runs."""
    import boto3
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    endpoint = "http://{}:{}".format(*moto.get_host_and_port())
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield f"s3://{BUCKET}"
    finally:
        moto.stop()
