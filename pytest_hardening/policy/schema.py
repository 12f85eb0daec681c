"""The JSON Schema of policy and profile files, made of the model that reads them: editors complete and check by it."""

from __future__ import annotations

import json
from typing import Any

from .document import PolicyDocument, ProfileDocument
from .fields import Section

__all__ = ["policy_schema", "profile_schema", "written"]


def policy_schema() -> dict[str, Any]:
    """Of hardening.toml; `hardening.schema.json` beside this file holds it."""
    return _schema(PolicyDocument, "policy of pytest-hardening: hardening.toml")


def profile_schema() -> dict[str, Any]:
    """Of profile files."""
    return _schema(ProfileDocument, "profile of pytest-hardening")


def written(schema: dict[str, Any]) -> str:
    """The file's text."""
    return json.dumps(schema, indent=1) + "\n"


def _schema(model: type[Section], title: str) -> dict[str, Any]:
    # what taplo reads; nothing of later drafts is used
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": title}
    return {**head, **_plain(model.model_json_schema())}


def _plain(node: Any) -> Any:
    """Without null, which TOML does not have, and without the titles and defaults that say nothing."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _plain(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value in (None, "", []))
    }
    if isinstance(kept.get("anyOf"), list):
        some = [item for item in kept.pop("anyOf") if item != {"type": "null"}]
        flat = [inner for item in some for inner in (item["anyOf"] if set(item) == {"anyOf"} else [item])]
        kept.update(flat[0] if len(flat) == 1 else {"anyOf": flat})
    return kept
