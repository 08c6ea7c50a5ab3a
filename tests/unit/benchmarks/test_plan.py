import pytest
from benchmarks import plan
from benchmarks.model import CALLS, LONE_CALLS, TRAFFIC, Build, Link, Row, Traffic
from benchmarks.plan import Choice

OURS = (Build("equipoise", "python3"),)


def names(rows: tuple[Row, ...]) -> list[str]:
    return [row.name for row in rows]


def test_a_full_run_holds_every_peer_with_1_and_2_workers() -> None:
    groups = plan.groups(OURS, Choice())

    small = {group.workers: names(group.scenarios[0].rows) for group in groups[:2]}
    assert set(small) == {1, 2}
    for rows in small.values():
        assert rows == ["equipoise, log", "equipoise", *names(plan.PEERS)]


def test_each_earlier_build_is_measured_in_the_same_rounds() -> None:
    builds = (*OURS, Build("before", "python3", "elsewhere"))

    rows = plan.groups(builds, Choice(scenarios=("100B",), workers=(1,)))[0].scenarios[0].rows

    assert names(rows)[:4] == ["equipoise, log", "equipoise", "before, log", "before"]


def test_the_bigger_answers_leave_out_the_logs_of_the_peers() -> None:
    rows = plan.groups(OURS, Choice(scenarios=("1MiB",), workers=(1,)))[0].scenarios[0].rows

    assert [row.name for row in rows if row.log] == ["equipoise, log"]
    assert {"nginx, big buffers", "HAProxy, splice"} <= set(names(rows))


def test_a_name_means_all_rows_that_begin_with_it() -> None:
    assert names(plan.chosen_rows(OURS, Choice(rows=("nginx",)))) == ["nginx", "nginx, log"]


def test_a_full_name_means_that_row_only() -> None:
    assert names(plan.chosen_rows(OURS, Choice(rows=("nginx, log",)))) == ["nginx, log"]


def test_a_variant_is_measured_when_named_in_full() -> None:
    assert names(plan.chosen_rows(OURS, Choice(rows=("nginx, log line by line",)))) == ["nginx, log line by line"]


def test_an_unknown_row_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ValueError, match=r"no such row: ngnix\. There are: .*nginx, log"):
        plan.chosen_rows(OURS, Choice(rows=("ngnix",)))


def test_the_number_of_targets_is_varied_for_equipoise_and_nginx() -> None:
    (group,) = plan.groups(OURS, Choice(scenarios=("targets",)))

    assert [(row.name, row.targets) for row in group.rows] == [
        ("equipoise, 5 targets", 5),
        ("equipoise, 50 targets", 50),
        ("equipoise, 500 targets", 500),
        ("nginx, 5 targets", 5),
        ("nginx, 50 targets", 50),
        ("nginx, 500 targets", 500),
    ]


def test_idle_connections_are_measured_once_for_each_balancer_of_http() -> None:
    rows = plan.idle_rows(OURS, Choice())

    assert names(rows) == ["equipoise", "nginx", "HAProxy", "Envoy", "Traefik", "Caddy"]


def test_a_quick_run_leaves_the_idle_connections_of_the_peers_out() -> None:
    assert names(plan.idle_rows(OURS, Choice(idle_peers=False))) == ["equipoise"]


def test_what_the_options_add_is_measured_without_being_named() -> None:
    builds = (*OURS, Build("before", "python3", "elsewhere"))
    own = Row("own", "other", command="own")

    rows = plan.chosen_rows(builds, Choice(rows=("equipoise, log",), others=(own,)))

    assert names(rows) == ["equipoise, log", "before, log", "before", "own"]


def test_the_protocols_are_measured_with_one_worker_unless_told_otherwise() -> None:
    groups = [group for group in plan.groups(OURS, Choice()) if group.rows[0].link is not Link.HTTP1]

    assert [(group.workers, len(group.scenarios)) for group in groups] == [(1, 2), (1, 1), (1, 2)]
    assert {scenario.traffic for group in groups for scenario in group.scenarios} == set(TRAFFIC[1:])


def test_a_protocol_that_is_named_is_measured_with_the_workers_that_are_named() -> None:
    groups = plan.groups(OURS, Choice(scenarios=("h2-h1",), workers=(1, 2)))

    assert [group.workers for group in groups] == [1, 2]


def test_every_row_of_a_group_speaks_what_its_scenarios_do() -> None:
    for group in plan.groups(OURS, Choice()):
        assert {row.link for row in group.rows} == {scenario.traffic.link for scenario in group.scenarios}


def test_the_logs_of_the_peers_are_measured_with_calls_only() -> None:
    def logged(traffic: Traffic) -> list[str]:
        return [row.name for row in plan.rows_for(OURS, Choice(), traffic) if row.log]

    assert {"nginx, log", "nghttpx, log"} < set(logged(CALLS))
    assert logged(LONE_CALLS) == ["equipoise, log", "nghttpx, log"]
    assert all(logged(traffic) == ["equipoise, log"] for traffic in TRAFFIC[2:] if traffic is not LONE_CALLS)


def test_the_floor_stands_where_no_handshake_is_made() -> None:
    floors = [
        traffic
        for traffic in TRAFFIC[1:]
        if any(row.variant == "tcp" for row in plan.rows_for(OURS, Choice(), traffic))
    ]

    assert {traffic.link for traffic in floors} == {Link.HTTP2}


def test_nghttpx_is_measured_where_it_has_something_to_say() -> None:
    assert "nghttpx" in names(plan.rows_for(OURS, Choice(), CALLS))
    assert "nghttpx" not in names(plan.groups(OURS, Choice(scenarios=("100B",)))[0].rows)


def test_what_is_kept_is_measured_beside_what_is_fetched() -> None:
    (group,) = plan.groups(OURS, Choice(scenarios=("cache-1KiB",), workers=(1,)))

    assert [(row.name, row.variant, row.log) for row in group.rows] == [
        ("equipoise, cache, log", "cache", True),
        ("equipoise, cache", "cache", False),
        ("equipoise, log", "", True),
        ("equipoise", "", False),
        ("nginx", "", False),
        ("nginx, log", "", True),
        ("nginx, cache", "cache", False),
        ("nginx, cache, log", "cache", True),
        ("Varnish, cache", "cache", False),
    ]


def test_rows_that_keep_answers_can_be_chosen() -> None:
    choice = Choice(scenarios=("cache-1KiB",), rows=("equipoise", "varnish"), workers=(1,))
    (group,) = plan.groups(OURS, choice)

    kept = ["equipoise, cache, log", "equipoise, cache"]
    assert names(group.rows) == [*kept, "equipoise, log", "equipoise", "Varnish, cache"]
