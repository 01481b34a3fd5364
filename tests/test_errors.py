"""Errors: what, where, remedy, and the exit code that follows."""

from __future__ import annotations

import inspect

import pytest

from egress_watch import errors
from egress_watch.errors import (
    CaptureError,
    ConfigError,
    DataError,
    EgressWatchError,
    RuleError,
    StoreError,
    UpdateError,
    UsageError,
)


def test_an_error_reads_where_what_and_remedy():
    """The text is ``where: what``, and the remedy on a line of its own."""
    assert str(StoreError("is full", where="a.db", remedy="make room")) == "a.db: is full\n  try: make room"


def test_what_is_unknown_is_left_out():
    """Without where and remedy only what went wrong is said."""
    assert str(StoreError("is full")) == "is full"
    assert str(StoreError("is full", where="a.db")) == "a.db: is full"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (CaptureError, 1),
        (StoreError, 1),
        (UsageError, 2),
        (ConfigError, 2),
        (DataError, 2),
        (RuleError, 2),
        (UpdateError, 1),
    ],
)
def test_the_class_decides_the_exit_code(kind, code):
    """Trouble in data is 1, usage and configuration are 2."""
    assert kind("x").exit_code == code


def test_every_error_is_ours():
    """Whoever catches EgressWatchError catches them all."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
    assert len(kinds) == 8
    assert all(issubclass(kind, EgressWatchError) for kind in kinds)


def test_a_rule_error_names_line_and_column():
    """The spot in a rule is ``file:line:column``, and the bare file where it is unknown."""
    assert str(RuleError("bad", where="a.yml", line=3, column=5)) == "a.yml:3:5: bad"
    assert RuleError("bad", where="a.yml").where == "a.yml"
