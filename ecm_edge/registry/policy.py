"""The policy of a registry: who may promote, and what it takes at least. `policy.toml` in the registry's folder.

    require_signature = true       an entry is signed when it is promoted, and the incumbent is a signed one
    promoters = ["ana", "li"]      the users of this machine who may promote and roll back; anybody where it is empty
    least_test_subjects = 20       so many subjects that the candidate was not fitted to have to be in its figures

Every line may be left out. The policy is for the users of a registry that they share. Whoever may write the folder can
change the policy too.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from ecm_edge.base import files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.parsing import LARGEST_TOML_BYTES, toml_of
from ecm_edge.base.records import Gate, Record, at_least, field_meant, first_fault

if TYPE_CHECKING:
    from pathlib import Path

POLICY = "policy.toml"
_SIGNED_ONLY = f"this registry takes signed entries only ({POLICY}: require_signature)"


class Policy(Record):
    """What a registry asks for; by default nothing."""

    require_signature: bool = False
    promoters: list[str] = Field(default=[])
    least_test_subjects: int = Field(default=0, ge=0)


def load_policy(registry: Path) -> Policy:
    """The policy of a registry; one that asks for nothing where there is no file.

    Raises:
        RegistryError: the file is a link, cannot be read, or is no policy.
    """
    path, rule = registry / POLICY, f"{POLICY} is the policy of a registry, as TOML"
    if path.is_symlink():
        raise RegistryError(rule, f"a link at {path}", "Put the file itself in its place.")
    try:
        return Policy.model_validate(toml_of(files.read_bounded(path, LARGEST_TOML_BYTES)))
    except FileNotFoundError:
        return Policy()
    except ValidationError as problem:
        hint = field_meant(problem, Policy) or "Correct that line."
        raise RegistryError(rule, f"{first_fault(problem)} in {path}", hint) from None
    except OSError as problem:
        raise RegistryError(rule, f"{problem.strerror} at {path}", "Check the path.") from None
    except ValueError as problem:
        raise RegistryError(rule, f"{problem} in {path}", "Correct that line.") from None


def check_promotion(policy: Policy, *, signed: bool) -> None:
    """Refuse whoever may not promote, and a promotion without a signature where one is required.

    Raises:
        RegistryError: by whom it is, or that no key was given.
    """
    _check_user(policy)
    if policy.require_signature and not signed:
        hint = "Give the key: `ecm-edge promote --sign KEY`."
        raise RegistryError(_SIGNED_ONLY, "a promotion without a key", hint)


def check_rollback(policy: Policy, entry: str, *, signed: bool) -> None:
    """Refuse whoever may not change the incumbent, and an entry without a signature where one is required.

    Raises:
        RegistryError: by whom it is, or that the entry has none.
    """
    _check_user(policy)
    if policy.require_signature and not signed:
        hint = "Roll back to a signed one, or promote its folder anew: `ecm-edge promote ENTRY_FOLDER --sign KEY`."
        raise RegistryError(_SIGNED_ONLY, f"no signature of the entry {entry}", hint)


def _check_user(policy: Policy) -> None:
    user = _user()
    if policy.promoters and user not in policy.promoters:
        hint = f"Ask one of them, or for a line in {POLICY}."
        raise RegistryError(f"{', '.join(policy.promoters)} may promote into this registry", user, hint)


def enough_subjects(policy: Policy, subjects: int) -> list[Gate]:
    """The gate on the number of subjects that the figures rest on; none where the policy does not ask for any."""
    if not policy.least_test_subjects:
        return []
    return [at_least("test_subjects", subjects, policy.least_test_subjects, "subjects", f"as {POLICY} asks for")]


def _user() -> str:
    """The name of the user who runs this process, by the system and not by a variable that anybody can set."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
