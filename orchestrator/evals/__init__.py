"""Tests of squads: cases with expectations, run from recordings or live, and judged by what was recorded."""
