"""What the admin API is, for people: `python -m equipoise.admin.reference` prints the page.

Owns: the page docs/reference/admin-api.md.
Refuses to know: any call by name; all is read from the OpenAPI document.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from equipoise.admin.app import make_api

_PREFACE: Final = """\
<!-- Made by `python -m equipoise.admin.reference`; change the modules in src/equipoise/admin instead. -->

# The admin API

It listens on `[admin] listen`, `127.0.0.1:8081` by default. The balancer serves this page's content as an OpenAPI
document at `/openapi.json`, and to try out at `/docs`.

"""
_LATER: Final = """
## Tokens

`[admin.jwt] algorithm` is the one algorithm that is accepted, and the token's header cannot choose another or bring a
key. A token must have `exp` and `role`. `nbf` and `iat` are checked where they are given, `iss` and `aud` where
`[admin.jwt] issuer` and `audience` ask for them; clocks may differ by `leeway`. A token is at most 8 KiB long.

| algorithm | the balancer has | `equipoise token` needs |
|---|---|---|
| `HS256` | `secret_file`, 32 bytes or more; without one, a secret is made in `state_dir`, mode 0600 | the same file |
| `RS256` | `public_key_file`, RSA, 2048 bits or more | `--key` with the private key |
| `ES256` | `public_key_file`, P-256 | `--key` with the private key |
| `EdDSA` | `public_key_file`, Ed25519 or Ed448 | `--key` with the private key |

A key file that changes is read again with the next call, so keys rotate without a restart; one that is removed opens
nothing any more. Calls without a valid token are answered 401, and from 200 at once and 20 a second from one address on
429. Calls with a valid token are never refused for that.
"""
Document = Mapping[str, Any]


def page() -> str:
    """The reference page, Markdown."""
    document = make_api().openapi()
    sections = [_PREFACE, document["info"]["description"]]
    for tag in document["tags"]:
        sections.append(f"\n## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        sections += [_section(document, *each) for each in _calls(document) if each[2]["tags"] == [tag["name"]]]
    return "".join([*sections, _LATER])


def _calls(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _section(document: Document, method: str, path: str, operation: Document) -> str:
    lines = [f"\n### `{method} {path}`\n", operation["description"], ""]
    lines += _parameters(operation)
    if "requestBody" in operation:
        schema = _resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
        lines += ["| body | type | meaning |", "|---|---|---|"]
        lines += [_row(document, name, value, schema) for name, value in schema["properties"].items()]
        lines += ["", f"Such as `{json.dumps(schema['examples'][0])}`.", ""]
    for status, answer in operation["responses"].items():
        if status < "400":
            lines += [f"**{status}** {_example(document, answer)}", ""]
    refused = sorted(status for status in operation["responses"] if status >= "400")
    if refused:
        lines.append(f"Refused with {', '.join(refused)}.")
    return "\n".join(lines).rstrip() + "\n"


def _parameters(operation: Document) -> list[str]:
    found = operation.get("parameters", ())
    if not found:
        return []
    rows = [f"| `{each['name']}` | {each['in']} | {each.get('description', '')} |" for each in found]
    return ["| parameter | in | meaning |", "|---|---|---|", *rows, ""]


def _row(document: Document, name: str, value: Document, schema: Document) -> str:
    value = {**_resolved(document, value), **value}
    kind = _kind(value)
    if "minimum" in value:
        # The framework makes floats of them.
        kind += f", {int(value['minimum'])} to {int(value['maximum'])}"
    says = str(value.get("description", ""))
    if name in schema.get("required", ()):
        says = f"Required. {says}"
    elif "default" in value:
        says += f" `{value['default']}` when not given."
    return f"| `{name}` | {kind} | {says} |"


def _kind(value: Document) -> str:
    if "anyOf" in value:
        return " or ".join(_kind(each) for each in value["anyOf"])
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    return f"array of {_kind(value['items'])}" if value["type"] == "array" else str(value["type"])


def _example(document: Document, answer: Document) -> str:
    """What an answer looks like, as a fenced block."""
    for media_type, content in answer["content"].items():
        schema = _resolved(document, content.get("schema", {}))
        example = content.get("example") or (schema.get("examples") or [None])[0]
        if isinstance(example, str):
            return f"(`{media_type}`)\n\n```text\n{example.rstrip()}\n```"
        return f"(`{media_type}`)\n\n```json\n{json.dumps(example, indent=2)}\n```"
    return ""


def _resolved(document: Document, schema: Document) -> Document:
    if "$ref" not in schema:
        return schema
    found: Document = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


if __name__ == "__main__":
    sys.stdout.write(page())
