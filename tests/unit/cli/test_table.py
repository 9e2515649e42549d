"""Lining up: columns, colours, wide characters, narrow terminals."""

from __future__ import annotations

import click

from podium.cli.show.table import Cell, Table, card, render

AGENTS = Table(("NAME", "CORES"), [["日本", Cell("4", right=True)], ["agent-2", Cell("16", right=True)]])


def test_columns_line_up_by_their_width_on_screen() -> None:
    assert render(AGENTS).splitlines() == ["NAME     CORES", "日本         4", "agent-2     16"]


def test_colours_take_no_room() -> None:
    table = Table(("A", "B"), [[Cell("red", color="red"), "x"], ["plain", "y"]])
    assert click.unstyle(render(table)).splitlines() == ["A      B", "red    x", "plain  y"]
    assert "\x1b[31m" in render(table)


def test_a_text_of_several_lines_stays_on_one() -> None:
    assert render(Table(("A",), [["one\n two\tthree"]])).splitlines()[1] == "one two three"


def test_only_the_last_column_is_shortened_to_fit_a_terminal() -> None:
    table = Table(("TASK", "FAILURE"), [["clean", "ValueError: no rows in 2013-02"]])
    assert render(table, width=22).splitlines()[1] == "clean  ValueError: no…"
    assert render(table).splitlines()[1] == "clean  ValueError: no rows in 2013-02"


def test_a_table_without_rows_still_has_its_titles() -> None:
    assert render(Table(("RUN", "STATE"), [])) == "RUN  STATE"


def test_a_card_leaves_out_what_has_no_value() -> None:
    assert card([("run", "r1"), ("reason", ""), ("workflow", "flow")]) == "run       r1\nworkflow  flow"
