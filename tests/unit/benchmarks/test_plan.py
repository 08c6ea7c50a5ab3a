import pytest
from benchmarks import plan
from benchmarks.model import Build, Row
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
