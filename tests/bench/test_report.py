"""The benchmark's arithmetic and tables: a wrong ratio would be believed by everybody who reads it.

No peer is installed and nothing is measured here; results are written down by hand.
"""

from __future__ import annotations

from bench import goals, model, report

Result = model.Result


def made(
    peer: str, variant: str = "default", measure: model.Measure = "restart", **figures: list[float]
) -> model.Result:
    """A result as a measure would return it; `__` stands for the dot in a figure's name."""
    named = {name.replace("__", "."): values for name, values in figures.items()}
    return Result(measure, peer, variant, {name.removeprefix("n"): values for name, values in named.items()})


def test_median_is_of_the_samples_and_absent_when_there_are_none() -> None:
    """An even number of samples gives the mean of the middle two; a figure that was not measured is not 0."""
    result = made("runit", exit_ms=[4.0, 1.0, 3.0, 100.0])
    assert report.median(result, "exit_ms") == 3.5
    assert report.median(result, "kill_ms") is None


def test_percentile_is_a_sample_that_enough_samples_do_not_exceed() -> None:
    """The 95th percentile of 20 samples is the 19th, of 1 sample that sample."""
    assert report.percentile([float(n) for n in range(20, 0, -1)], 0.95) == 19.0
    assert report.percentile([7.0], 0.95) == 7.0


def test_numbers_keep_the_digits_that_say_something() -> None:
    """Small figures keep their digits, large ones lose them, none is a dash."""
    assert [report.number(value) for value in (0.0, 1.004, 12.345, 123.4, 57610.2, None)] == [
        "0.00",
        "1.00",
        "12.3",
        "123",
        "57 610",
        "-",
    ]
    assert report.number(0.0042, 4) == "0.0042"
    assert report.number(13.94, 1) == "13.9"


def test_ratio_is_absent_rather_than_infinite() -> None:
    """A base of 0 (an idle bare loop) or a missing figure gives no ratio."""
    assert report.ratio(3.0, 1.5) == "2.00x"
    assert report.ratio(3.0, 0.0) == "-"
    assert report.ratio(None, 1.0) == "-"
    assert report.ratio(1.0, None) == "-"


def test_best_takes_the_settings_medians_not_single_samples() -> None:
    """The best setting has the best median, lowest or highest as asked; other peers do not count."""
    results = [
        made("circus", "default", mb=[1.0, 100.0, 101.0]),
        made("circus", "fast", mb=[50.0, 60.0, 70.0]),
        made("pm2", "default", mb=[1.0]),
    ]
    assert report.best(results, "circus", "mb") == 60.0
    assert report.best(results, "circus", "mb", highest=True) == 100.0
    assert report.best(results, "s6", "mb") is None


def test_table_is_markdown_that_no_cell_can_break() -> None:
    """Words to the left, figures to the right, a bar in a cell is escaped."""
    text = report.table(["peer", "setting", "ms"], [["a|b", "c", "1.0"]])
    assert text.splitlines() == [
        "| peer | setting | ms |",
        "| --- | --- | ---: |",
        "| a\\|b | c | 1.0 |",
    ]


def test_restart_section_shows_ratios_to_the_limit_and_to_midwatch() -> None:
    """4 ms is 4 times the bare loop's 1 ms and twice midwatch's best 2 ms; what was not tried is a dash."""
    results = [
        made("bare", exit_ms=[1.0]),
        made("midwatch", "contain=none", exit_ms=[2.0]),
        made("midwatch", "contain=auto", exit_ms=[2.5]),
        made("runit", exit_ms=[4.0]),
    ]
    row = report.section("restart", results).splitlines()[7]
    assert row == "| runit | default | 4.00 | 4.00 (1) | 4.00x | 2.00x | - | - | - | - |"


def test_failures_and_notes_are_told_below_the_table() -> None:
    """A peer that failed keeps its row, with dashes and its reason."""
    failed = Result("logs", "honcho", "default", failed="not delivered within 40 s", notes=["no rotation"])
    text = report.section("logs", [made("bare", measure="logs", mb_per_s=[900.0]), failed])
    assert "| honcho | default | - |" in text
    assert "- honcho (default): failed: not delivered within 40 s\n- honcho (default): no rotation" in text


def test_memory_section_shows_each_own_process_of_products_with_several() -> None:
    """Keeper and engine are summed in the main table and told apart in the second; sizes sort as numbers."""
    mib = float(report.MIB)
    ours = made(
        "midwatch",
        measure="memory",
        n10__processes=[2], n10__rss=[30 * mib], n10__anon=[13 * mib], n10__pss=[20 * mib],
        n10__keeper__processes=[1], n10__keeper__rss=[10 * mib], n10__keeper__anon=[4 * mib],
        n10__keeper__pss=[6 * mib], n10__engine__processes=[1], n10__engine__rss=[20 * mib],
        n10__engine__anon=[9 * mib], n10__engine__pss=[14 * mib],
        n2__processes=[2], n2__rss=[30 * mib], n2__anon=[12 * mib], n2__pss=[19 * mib],
    )  # fmt: skip
    lines = report.section("memory", [ours]).splitlines()
    assert lines[2].startswith("| peer | setting | 2: processes | RSS | RssAnon | PSS | 10: processes |")
    assert lines[4] == "| midwatch | default | 2 | 30.0 | 12.0 | 19.0 | 2 | 30.0 | 13.0 | 20.0 | 1.00x |"
    assert "| midwatch (default) | keeper | 10 | 1 | 10.0 | 4.0 | 6.0 |" in lines


def test_goals_are_judged_from_the_same_run() -> None:
    """Fixed bounds, the best peer and the bare loop's share come from the results; 'missed' is said aloud."""
    results = [
        made("bare", exit_ms=[1.0]),
        made("midwatch", goals.GATED, exit_ms=[2.9]),
        made("midwatch", goals.PLAIN, exit_ms=[2.1]),
        made("runit", exit_ms=[2.8]),
        made("bare", "splice", "logs", mb_per_s=[1000.0]),
        made("midwatch", goals.ROTATED, "logs", mb_per_s=[900.0]),
    ]
    text = goals.section(results)
    assert "| exit 0 to successor, gate and cgroup (ms) | contain=auto | 2.90 | <= 3: 3.00 | met |" in text
    assert "| exit 0 to successor, no gate (ms) | contain=none | 2.10 | <= 2: 2.00 | MISSED |" in text
    assert "| exit 0 to successor (ms) | contain=auto | 2.90 | best peer: 2.80 | MISSED |" in text
    assert "| log MB/s, limit | 50 MB x 10 | 900 | 0.9 of the bare splice loop: 900 | met |" in text


def test_a_goal_that_could_not_be_checked_is_not_met() -> None:
    """Without the peer it is compared with, a goal is 'not checked'; without midwatch there is no table."""
    text = goals.section([made("midwatch", goals.GATED, "memory", n1__pss=[1.0])])
    assert "with waiting gates (MiB) | contain=auto | 0.00 | supervisor: - | not checked |" in text
    assert "keeper + engine (MiB) | contain=auto | - | supervisor: - | not checked |" in text
    assert goals.section([made("runit", exit_ms=[1.0])]) == ""
