import socket
import threading
from collections.abc import Iterator

import pytest

from equipoise.cli.access import Access
from equipoise.cli.client import Client, Refused, Unreachable
from tests.support.admin_api import ScriptedApi


@pytest.fixture
def client(api: ScriptedApi) -> Iterator[Client]:
    with Client(Access(api.url, "--admin", lambda: "secret")) as client:
        yield client


def test_an_answer_has_its_text_and_what_it_says(api: ScriptedApi, client: Client) -> None:
    api.says("GET /v1/config", b'{"version": 7}\n')
    answer = client.get("config")
    assert (answer.text, answer.data) == ('{"version": 7}', {"version": 7})


def test_a_call_carries_the_token_and_what_it_has_to_say(api: ScriptedApi, client: Client) -> None:
    api.says("PUT /v1/pools/default/algorithm", {})
    client.put("pools", "default", "algorithm", body={"algorithm": "random"})
    (call,) = api.calls
    assert call.body == {"algorithm": "random"}
    assert (call.fields["authorization"], call.fields["content-type"]) == ("Bearer secret", "application/json")


def test_names_are_quoted_in_the_path(api: ScriptedApi, client: Client) -> None:
    api.says("DELETE /v1/pools/a%2Bb/targets/%5B%3A%3A1%5D%3A80?force=true", {})
    client.delete("pools", "a+b", "targets", "[::1]:80", force="true")
    assert len(api.calls) == 1


def test_a_path_before_the_api_is_part_of_each_call(api: ScriptedApi) -> None:
    api.says("GET /balancer/v1/config", {})
    with Client(Access(f"{api.url}/balancer", "", str)) as client:
        client.get("config")
    assert "authorization" not in api.calls[0].fields


def test_looks_share_one_connection(api: ScriptedApi, client: Client) -> None:
    client.get("status")
    client.get("status")
    assert len({call.connection for call in api.calls}) == 1


def test_a_look_over_a_connection_that_was_closed_is_taken_again(api: ScriptedApi, client: Client) -> None:
    api.hangs_up = True
    client.get("status")
    client.get("status")
    assert len(api.calls) == 2


def test_a_change_gets_a_connection_of_its_own(api: ScriptedApi, client: Client) -> None:
    """One over a kept connection that breaks might have been made or not, and must not be made twice."""
    api.says("POST /v1/reload", {})
    client.get("status")
    client.post("reload")
    assert len({call.connection for call in api.calls}) == 2


def test_a_problem_document_is_a_refusal_with_its_places(api: ScriptedApi, client: Client) -> None:
    api.refuses("POST /v1/reload", 422, "the file is bad", ("pools.a", "is odd"), ("limits", "is missing"))
    with pytest.raises(Refused) as caught:
        client.post("reload")
    assert (caught.value.status, caught.value.detail) == (422, "the file is bad")
    assert caught.value.places == (("pools.a", "is odd"), ("limits", "is missing"))


@pytest.mark.parametrize(("code", "body"), [(200, b"<html>"), (404, b"not here"), (302, b""), (200, b"[1]")])
def test_what_is_no_admin_api_is_told_apart(api: ScriptedApi, client: Client, code: int, body: bytes) -> None:
    api.says("GET /v1/config", body, code)
    with pytest.raises(Refused, match=f"{code} .*not in the words of the admin API"):
        client.get("config")


def reason(url: str, timeout: float = 5.0, token: str = "") -> str:
    with Client(Access(url, "", lambda: token), timeout) as client, pytest.raises(Unreachable) as caught:
        client.get("status")
    return caught.value.reason


def test_nobody_at_the_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert reason(f"http://127.0.0.1:{port}") == "Connection refused"


def test_a_silent_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert reason(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.05) == "no answer within 0.05 s"


def test_a_token_that_cannot_be_sent_is_not_repeated(api: ScriptedApi) -> None:
    said = reason(api.url, token="sec\nret")
    assert "cannot be sent" in said
    assert "sec" not in said


def test_another_protocol_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        greeter = threading.Thread(target=greet, args=(server, b"SSH-2.0-x\r\n"))
        greeter.start()
        said = reason(f"http://127.0.0.1:{server.getsockname()[1]}")
        greeter.join()
    assert said == "what answers there does not speak HTTP (BadStatusLine)"


def greet(server: socket.socket, text: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(text)


def test_a_call_that_takes_long_is_waited_for_as_long_as_it_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        access = Access(f"http://127.0.0.1:{server.getsockname()[1]}", "", lambda: "")
        with Client(access, 0.05) as client, pytest.raises(Unreachable) as caught:
            client.post("upgrade", patience=0.1)
    assert caught.value.reason == "no answer within 0.1 s"
