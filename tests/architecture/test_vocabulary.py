"""One word for one thing: the glossary of docs/architecture.md, and none of its synonyms.

Owns: the words that may not name anything in src.
Refuses to know: prose, and names that come from other libraries and are only used.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.architecture.tree import Module, modules

# Word -> the one to use. Only words that mean nothing else here: `server` is an asyncio object, `host` a field, `node`
# a part of any tree, `service` and `session` belong to gRPC and TLS; those a reader has to judge.
SYNONYMS = {
    "backend": "target",
    "backends": "targets",
    "cluster": "pool",
    "clusters": "pools",
    "endpoint": "target",
    "endpoints": "targets",
    "frontend": "listener",
    "frontends": "listeners",
    "master": "supervisor",
    "replica": "target",
    "replicas": "targets",
    "slave": "worker",
    "strategy": "algorithm",
    "strategies": "algorithms",
    "upstreams": "targets",
    "vhost": "route",
    "virtualhost": "route",
}

# Two words that are innocent alone.
PHRASES = {
    ("pool", "member"): "target",
    ("origin", "server"): "target",
    ("real", "server"): "target",
    ("target", "group"): "pool",
    ("target", "host"): "target",
    ("upstream", "group"): "pool",
    ("upstream", "host"): "target",
    ("upstream", "node"): "target",
    ("upstream", "server"): "target",
}


@pytest.mark.parametrize("module", modules(), ids=str)
def test_names_use_the_glossary(module: Module) -> None:
    wrong = [f"line {line}: {name}" for name, line in names(module.tree) if synonyms(name)]
    assert wrong == []


def test_modules_use_the_glossary() -> None:
    assert [module.name for module in modules() if any(synonyms(part) for part in module.name.split("."))] == []


def names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the module gives to something: what it only uses may have been named by others."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno
            case _:
                pass


def synonyms(name: str) -> list[str]:
    """The words to use instead; none when the name is fine."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    better = [SYNONYMS[word] for word in words if word in SYNONYMS]
    return better + [PHRASES[pair] for pair in pairwise(words) if pair in PHRASES]


@pytest.mark.parametrize(
    "name", ["backend_port", "BackendPool", "OPEN_REPLICAS", "upstream_server", "UpstreamServer", "vhost"]
)
def test_a_synonym_is_seen_in_every_spelling(name: str) -> None:
    assert synonyms(name)


@pytest.mark.parametrize("name", ["upstream", "target", "server", "get_annotations", "HTTPServer", "upstream_http1"])
def test_an_innocent_name_is_left_alone(name: str) -> None:
    assert not synonyms(name)
