from tests.unit.admin.parts import Api


def test_the_status_is_read_with_its_version(api: Api) -> None:
    answer = api.ask("GET", "/v1/status", role="read")
    assert (answer.status, answer.get("etag")) == (200, '"1"')
    assert answer.json == api.board.status()


def test_the_process_is_alive_whatever_else(api: Api) -> None:
    api.board.reason = "no target is up"
    answer = api.ask("GET", "/healthz", role="")
    assert (answer.status, answer.body, answer.get("content-type")) == (200, b"ok", "text/plain; charset=utf-8")


def test_readiness_says_why_not(api: Api) -> None:
    assert api.ask("GET", "/readyz", role="").status == 200
    api.board.reason = "2 of 4 workers are up"
    answer = api.ask("GET", "/readyz", role="")
    assert (answer.status, answer.body) == (503, b"2 of 4 workers are up")


def test_metrics_are_handed_on_in_the_format_that_is_asked_for(api: Api) -> None:
    asked = []

    class Metrics:
        async def text(self, accept: str | None) -> tuple[bytes, str]:
            asked.append(accept)
            return b"equipoise_up 1\n", "text/plain; version=0.0.4"

    api.app.state.metrics = Metrics()
    answer = api.ask("GET", "/metrics", role="", accept="application/openmetrics-text")
    assert (answer.status, answer.body) == (200, b"equipoise_up 1\n")
    assert answer.get("content-type") == "text/plain; version=0.0.4"
    assert asked == ["application/openmetrics-text"]
