"""URLs with secrets in them, as they may be shown: in messages, logs, records and reports."""

from __future__ import annotations

import re

HIDDEN = "***"
_PASSWORD = re.compile(r"(://[^:/@\s]*):(?:(?!://).)*@")  # up to the last @ before another URL
_TOKEN = re.compile(r"(https?://)[^:/@\s]+@")
_PARAMETER = re.compile(r"([?&][^=&\s]*(?:password|passwd|secret|token|key)[^=&\s]*=)[^&\s]*", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """A text with *** in place of its URLs' passwords, and of parameters that are called like a secret.

    Where a web address has a user alone, that may be a token.

    >>> without_secrets("postgresql+psycopg://ann:se/c@ret@host/db?sslkey=abc&a=1")
    'postgresql+psycopg://ann:***@host/db?sslkey=***&a=1'
    >>> without_secrets("mysql://a:p w@h/d and https://token@host/mlflow, s3://bucket?secret_key=abc")
    'mysql://a:***@h/d and https://***@host/mlflow, s3://bucket?secret_key=***'
    >>> without_secrets("sqlite:////data/study.db")
    'sqlite:////data/study.db'
    """
    return _PARAMETER.sub(rf"\1{HIDDEN}", _TOKEN.sub(rf"\1{HIDDEN}@", _PASSWORD.sub(rf"\1:{HIDDEN}@", text)))
